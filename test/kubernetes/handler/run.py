"""Runs aws-cdk-lib's own handler, unchanged, with one event of CloudFormation, and writes its result as the last line.

    python3 run.py <folder of the handler> < event.json
"""
import importlib
import json
import logging
import sys
import time

folder = sys.argv[1]
sys.path.insert(0, folder)

# It pauses ten seconds between two looks at the cluster. The results stay the same with shorter pauses.
pause = time.sleep
time.sleep = lambda seconds: pause(min(seconds, 0.5))

logging.basicConfig(stream=sys.stderr, format='%(message)s')
event = json.load(sys.stdin)
# The index of the handler imports boto3, which only Helm charts need.
module, function = {
    'Custom::AWSCDK-EKS-KubernetesResource': ('apply', 'apply_handler'),
    'Custom::AWSCDK-EKS-KubernetesObjectValue': ('get', 'get_handler'),
    'Custom::AWSCDK-EKS-KubernetesPatch': ('patch', 'patch_handler'),
}[event['ResourceType']]
handler = getattr(importlib.import_module(module), function)
try:
    print(json.dumps(handler(event, None)))
except Exception as error:
    print(error, file=sys.stderr)
    sys.exit(1)
