package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awseksv2"
	"github.com/aws/jsii-runtime-go"
	orders "github.com/cdk-order-pipeline/cdk-order-pipeline-go/cdkorderpipeline"
	"github.com/cdklabs/awscdk-kubectl-go/kubectlv35/v2"
)

func main() {
	defer jsii.Close()
	app := awscdk.NewApp(nil)
	stack := awscdk.NewStack(app, jsii.String("Shop"), nil)
	vpc := awsec2.NewVpc(stack, jsii.String("Vpc"), nil)
	kubectl := kubectlv35.NewKubectlV35Layer(stack, jsii.String("Kubectl"))
	cluster := awseksv2.NewCluster(stack, jsii.String("Cluster"), &awseksv2.ClusterProps{Vpc: vpc,
		Version: awseksv2.KubernetesVersion_Of(jsii.String("1.35")), KubectlProviderOptions: &awseksv2.KubectlProviderOptions{KubectlLayer: kubectl}})
	kubernetes := orders.KubernetesAccess_FromEksV2(cluster, &orders.KubernetesAccessOptions{Namespace: jsii.String("orders")})
	orders.NewKubernetesPrerequisites(stack, jsii.String("Prerequisites"), &orders.KubernetesPrerequisitesProps{Kubernetes: kubernetes})
	services := orders.ServiceHost_KubernetesServices(kubernetes, orders.WorkloadImage_FromDirectory(jsii.String("services"), nil), nil)

	pipeline := orders.NewEventDrivenOrderPipeline(stack, jsii.String("Pipeline"), &orders.EventDrivenOrderPipelineProps{
		Vpc:         vpc,
		Migration:   services.Job(jsii.Strings("node", "migrate.js"), nil),
		CommandApi:  services.Run(jsii.Strings("node", "api-write-service.js"), nil),
		QueryApi:    services.Run(jsii.Strings("node", "api-read-service.js"), nil),
		OutboxRelay: services.Run(jsii.Strings("node", "outbox-relay.js"), nil),
	})
	pipeline.AddConsumer(jsii.String("Inventory"), &orders.PipelineConsumerOptions{
		Events:   jsii.Strings("inventory.validated", "order.confirmed"),
		Database: orders.DatabaseSide_COMMAND,
		Target:   services.Consume(jsii.Strings("node", "inventory-service.js"), nil),
	})
	app.Synth(nil)
}
