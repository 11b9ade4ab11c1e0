from aws_cdk import App, CfnOutput, Duration, RemovalPolicy, Stack, aws_ec2 as ec2, aws_events as events, aws_kms as kms, aws_lambda as lambda_, aws_s3 as s3
import cdk_order_pipeline as orders

app = App()
stack = Stack(app, "Orders")
vpc = ec2.Vpc(stack, "Vpc")
pods = ec2.SecurityGroup(stack, "Pods", vpc=vpc)
kubernetes = orders.KubernetesAccess.manifests_only(cluster_name="platform", pod_security_group=pods, load_balancer_class="service.k8s.aws/nlb")
services = orders.ServiceHost.kubernetes_services(kubernetes, orders.WorkloadImage.from_registry("public.ecr.aws/example/orders:1.4.0"))

database = orders.CqrsAuroraCluster(stack, "Database", vpc=vpc, instances=orders.CqrsInstances.serverless(readers=2))
pipeline = orders.EventDrivenOrderPipeline(
    stack, "Pipeline",
    database=database,
    transport=orders.EventTransport.event_bridge(archive=orders.EventArchive.retain(Duration.days(90))),
    event_source="com.example.shop",
    event_signing=orders.EventSigning.generated(removal_policy=RemovalPolicy.RETAIN),
    database_logins=orders.DatabaseLogins.per_workload(),
    authorizer=orders.ApiAuthorizer.jwt("https://login.example.com/", ["orders"], customer_claim="customer"),
    encryption_key=kms.Key(stack, "Key"),
    migration=services.job(["node", "migrate.js"]),
    command_api=services.run(["node", "api-write-service.js"]),
    query_api=services.run(["node", "api-read-service.js"], exposure=orders.ServiceExposure.cluster_internal()),
    outbox_relay=services.run(["node", "outbox-relay.js"]),
)
pipeline.add_service("Reports", services.run(["node", "reports.js"]), database=orders.DatabaseSide.QUERY)
inventory = services.consume(["node", "inventory-service.js"], scaling=orders.QueueScaling.fixed(2))
pipeline.add_consumer(
    "Inventory", events=["order.created"], database=orders.DatabaseSide.COMMAND, workload="inventory-service", target=inventory,
)

code = lambda_.Code.from_inline("exports.handler = async () => ({})")
fn = lambda_.Function(stack, "Invoices", runtime=lambda_.Runtime.NODEJS_24_X, handler="index.handler", code=code)
pipeline.allow_publish(fn)
pattern = events.EventPattern(source=[pipeline.event_source], detail_type=["OrderConfirmed"])
target = orders.ConsumerTarget.lambda_function(fn)
consumer = orders.BufferedEventConsumer(stack, "InvoiceEvents", event_bus=pipeline.event_bus, event_pattern=pattern, target=target)
s3.Bucket(stack, "Letterheads").grant_read(consumer)
CfnOutput(stack, "Manifests", value=stack.to_json_string(kubernetes.manifests))
app.synth()
