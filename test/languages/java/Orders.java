import io.github.cdkorderpipeline.*;
import java.util.List;
import software.amazon.awscdk.*;
import software.amazon.awscdk.services.ec2.*;
import software.amazon.awscdk.services.events.EventPattern;
import software.amazon.awscdk.services.kms.Key;
import software.amazon.awscdk.services.lambda.Code;
import software.amazon.awscdk.services.lambda.Function;
import software.amazon.awscdk.services.lambda.Runtime;
import software.amazon.awscdk.services.s3.Bucket;

public class Orders {
    public static void main(String[] args) {
        var app = new App();
        var stack = new Stack(app, "Orders");
        var vpc = new Vpc(stack, "Vpc");
        var pods = SecurityGroup.Builder.create(stack, "Pods").vpc(vpc).build();
        var kubernetes = KubernetesAccess.manifestsOnly(ManifestsOnlyOptions.builder()
            .clusterName("platform").podSecurityGroup(pods).loadBalancerClass("service.k8s.aws/nlb").build());
        var services = ServiceHost.kubernetesServices(kubernetes, WorkloadImage.fromRegistry("public.ecr.aws/example/orders:1.4.0"));

        var instances = CqrsInstances.serverless(ServerlessInstancesOptions.builder().readers(2).build());
        var database = CqrsAuroraCluster.Builder.create(stack, "Database").vpc(vpc).instances(instances).build();
        var archive = EventArchive.retain(Duration.days(90));
        var pipeline = EventDrivenOrderPipeline.Builder.create(stack, "Pipeline")
            .database(database)
            .transport(EventTransport.eventBridge(EventBridgeTransportOptions.builder().archive(archive).build()))
            .eventSource("com.example.shop")
            .eventSigning(EventSigning.generated(GeneratedSigningKeyOptions.builder().removalPolicy(RemovalPolicy.RETAIN).build()))
            .databaseLogins(DatabaseLogins.perWorkload())
            .authorizer(ApiAuthorizer.jwt("https://login.example.com/", List.of("orders"),
                JwtAuthorizerOptions.builder().customerClaim("customer").build()))
            .encryptionKey(new Key(stack, "Key"))
            .migration(services.job(List.of("node", "migrate.js")))
            .commandApi(services.run(List.of("node", "api-write-service.js")))
            .queryApi(services.run(List.of("node", "api-read-service.js"),
                KubernetesServiceSettings.builder().exposure(ServiceExposure.clusterInternal()).build()))
            .outboxRelay(services.run(List.of("node", "outbox-relay.js")))
            .build();
        var reports = PipelineServiceOptions.builder().database(DatabaseSide.QUERY).build();
        pipeline.addService("Reports", services.run(List.of("node", "reports.js")), reports);
        var two = KubernetesConsumerSettings.builder().scaling(QueueScaling.fixed(2)).build();
        pipeline.addConsumer("Inventory", PipelineConsumerOptions.builder().events(List.of("order.created"))
            .database(DatabaseSide.COMMAND).workload("inventory-service").target(services.consume(List.of("node", "inventory-service.js"), two)).build());

        var fn = Function.Builder.create(stack, "Invoices").runtime(Runtime.NODEJS_24_X).handler("index.handler")
            .code(Code.fromInline("exports.handler = async () => ({})")).build();
        pipeline.allowPublish(fn);
        var consumer = BufferedEventConsumer.Builder.create(stack, "InvoiceEvents")
            .eventBus(pipeline.getEventBus())
            .eventPattern(EventPattern.builder().source(List.of(pipeline.getEventSource())).detailType(List.of("OrderConfirmed")).build())
            .target(ConsumerTarget.lambdaFunction(fn))
            .build();
        new Bucket(stack, "Letterheads").grantRead(consumer);
        CfnOutput.Builder.create(stack, "Manifests").value(stack.toJsonString(kubernetes.getManifests())).build();
        app.synth();
    }
}
