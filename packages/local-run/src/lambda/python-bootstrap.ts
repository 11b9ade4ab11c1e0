/**
 * The Python runtime of AWS Lambda on this machine. It is a text in a module because the compiled package has modules only; it is written
 * to a file at the start of a run.
 */
export const PYTHON_BOOTSTRAP = String.raw`import http.client
import importlib
import json
import os
import sys
import time
import traceback

PREFIX = "/2018-06-01/runtime/"


class Context:
    function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
    memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
    log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
    log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
    identity = None
    client_context = None

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(self._deadline - int(time.time() * 1000), 0)

    def log(self, message):
        print(message)


def call(connection, method, path, body=None):
    connection.request(method, PREFIX + path, body)
    response = connection.getresponse()
    return response.headers, response.read()


def described(error):
    frames = traceback.format_exception(type(error), error, error.__traceback__)
    return json.dumps({"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": frames})


def load(handler):
    module, _, name = handler.rpartition(".")
    if not module:
        raise ValueError("the handler " + handler + " names no module: write it as module.function")
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    loaded = importlib.import_module(module.replace("/", "."))
    if not callable(getattr(loaded, name, None)):
        raise AttributeError(str(loaded.__file__) + " has no function " + name + ", which the handler " + handler + " names")
    return getattr(loaded, name)


def main():
    # The folder of this file is not the function's.
    sys.path.pop(0)
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load(os.environ["_HANDLER"])
    except BaseException as error:
        traceback.print_exc()
        call(connection, "POST", "init/error", described(error))
        sys.exit(1)
    while True:
        headers, body = call(connection, "GET", "invocation/next")
        context = Context(headers)
        if headers["Lambda-Runtime-Trace-Id"] is not None:
            os.environ["_X_AMZN_TRACE_ID"] = headers["Lambda-Runtime-Trace-Id"]
        try:
            kind, answer = "response", json.dumps(handler(json.loads(body), context))
        except Exception as error:
            kind, answer = "error", described(error)
        call(connection, "POST", "invocation/" + context.aws_request_id + "/" + kind, answer)


try:
    main()
except (ConnectionError, http.client.HTTPException):
    # Without the Runtime API there is nothing to do: the run has ended.
    sys.exit(1)
`;
