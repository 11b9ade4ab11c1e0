package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/jsii-runtime-go"
	orders "github.com/cdk-order-pipeline/cdk-order-pipeline-go/cdkorderpipeline"
)

func main() {
	defer jsii.Close()
	app := awscdk.NewApp(nil)
	stack := awscdk.NewStack(app, jsii.String("Orders"), nil)
	vpc := awsec2.NewVpc(stack, jsii.String("Vpc"), nil)
	pods := awsec2.NewSecurityGroup(stack, jsii.String("Pods"), &awsec2.SecurityGroupProps{Vpc: vpc})
	kubernetes := orders.KubernetesAccess_ManifestsOnly(&orders.ManifestsOnlyOptions{
		ClusterName: jsii.String("platform"), PodSecurityGroup: pods, LoadBalancerClass: jsii.String("service.k8s.aws/nlb")})
	image := orders.WorkloadImage_FromRegistry(jsii.String("public.ecr.aws/example/orders:1.4.0"), nil)
	services := orders.ServiceHost_KubernetesServices(kubernetes, image, nil)

	instances := orders.CqrsInstances_Serverless(&orders.ServerlessInstancesOptions{Readers: jsii.Number(2)})
	database := orders.NewCqrsAuroraCluster(stack, jsii.String("Database"), &orders.CqrsAuroraClusterProps{Vpc: vpc, Instances: instances})
	archive := orders.EventArchive_Retain(awscdk.Duration_Days(jsii.Number(90)))
	inCluster := &orders.KubernetesServiceSettings{Exposure: orders.ServiceExposure_ClusterInternal()}
	pipeline := orders.NewEventDrivenOrderPipeline(stack, jsii.String("Pipeline"), &orders.EventDrivenOrderPipelineProps{
		Database:    database,
		Transport:   orders.EventTransport_EventBridge(&orders.EventBridgeTransportOptions{Archive: archive}),
		EventSource: jsii.String("com.example.shop"),
		EventSigning: orders.EventSigning_Generated(&orders.GeneratedSigningKeyOptions{
			RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
		}),
		DatabaseLogins: orders.DatabaseLogins_PerWorkload(nil),
		Authorizer: orders.ApiAuthorizer_Jwt(jsii.String("https://login.example.com/"), jsii.Strings("orders"),
			&orders.JwtAuthorizerOptions{CustomerClaim: jsii.String("customer")}),
		EncryptionKey: awskms.NewKey(stack, jsii.String("Key"), nil),
		Migration:     services.Job(jsii.Strings("node", "migrate.js"), nil),
		CommandApi:    services.Run(jsii.Strings("node", "api-write-service.js"), nil),
		QueryApi:      services.Run(jsii.Strings("node", "api-read-service.js"), inCluster),
		OutboxRelay:   services.Run(jsii.Strings("node", "outbox-relay.js"), nil),
	})
	pipeline.AddService(jsii.String("Reports"), services.Run(jsii.Strings("node", "reports.js"), nil), &orders.PipelineServiceOptions{
		Database: orders.DatabaseSide_QUERY,
	})
	two := &orders.KubernetesConsumerSettings{Scaling: orders.QueueScaling_Fixed(jsii.Number(2))}
	pipeline.AddConsumer(jsii.String("Inventory"), &orders.PipelineConsumerOptions{
		Events:   jsii.Strings("order.created"),
		Database: orders.DatabaseSide_COMMAND,
		Workload: jsii.String("inventory-service"),
		Target:   services.Consume(jsii.Strings("node", "inventory-service.js"), two),
	})

	fn := awslambda.NewFunction(stack, jsii.String("Invoices"), &awslambda.FunctionProps{
		Runtime: awslambda.Runtime_NODEJS_24_X(), Handler: jsii.String("index.handler"),
		Code: awslambda.Code_FromInline(jsii.String("exports.handler = async () => ({})"))})
	pipeline.AllowPublish(fn)
	consumer := orders.NewBufferedEventConsumer(stack, jsii.String("InvoiceEvents"), &orders.BufferedEventConsumerProps{
		EventBus:     pipeline.EventBus(),
		EventPattern: &awsevents.EventPattern{Source: &[]*string{pipeline.EventSource()}, DetailType: jsii.Strings("OrderConfirmed")},
		Target:       orders.ConsumerTarget_LambdaFunction(fn, nil),
	})
	awss3.NewBucket(stack, jsii.String("Letterheads"), nil).GrantRead(consumer, nil)
	manifests := stack.ToJsonString(kubernetes.Manifests(), nil)
	awscdk.NewCfnOutput(stack, jsii.String("Manifests"), &awscdk.CfnOutputProps{Value: manifests})
	app.Synth(nil)
}
