from aws_cdk import App, Stack, aws_ec2 as ec2, aws_eks_v2 as eks
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from cdk_order_pipeline import DatabaseSide, EventDrivenOrderPipeline, KubernetesAccess, KubernetesPrerequisites, ServiceHost, WorkloadImage

app = App()
stack = Stack(app, "Shop")
vpc = ec2.Vpc(stack, "Vpc")
kubectl = eks.KubectlProviderOptions(kubectl_layer=KubectlV35Layer(stack, "Kubectl"))
cluster = eks.Cluster(stack, "Cluster", vpc=vpc, version=eks.KubernetesVersion.of("1.35"), kubectl_provider_options=kubectl)
kubernetes = KubernetesAccess.from_eks_v2(cluster, namespace="orders")
KubernetesPrerequisites(stack, "Prerequisites", kubernetes=kubernetes)
services = ServiceHost.kubernetes_services(kubernetes, WorkloadImage.from_directory("services"))

pipeline = EventDrivenOrderPipeline(
    stack, "Pipeline",
    vpc=vpc,
    migration=services.job(["node", "migrate.js"]),
    command_api=services.run(["node", "api-write-service.js"]),
    query_api=services.run(["node", "api-read-service.js"]),
    outbox_relay=services.run(["node", "outbox-relay.js"]),
)
pipeline.add_consumer(
    "Inventory",
    events=["inventory.validated", "order.confirmed"],
    database=DatabaseSide.COMMAND,
    target=services.consume(["node", "inventory-service.js"]),
)
app.synth()
