import io.github.cdkorderpipeline.*;
import java.util.List;
import software.amazon.awscdk.*;
import software.amazon.awscdk.cdk.lambdalayer.kubectl.v35.KubectlV35Layer;
import software.amazon.awscdk.services.ec2.Vpc;
import software.amazon.awscdk.services.eks_v2.*;

public class Shop {
    public static void main(String[] args) {
        var app = new App();
        var stack = new Stack(app, "Shop");
        var vpc = new Vpc(stack, "Vpc");
        var kubectl = KubectlProviderOptions.builder().kubectlLayer(new KubectlV35Layer(stack, "Kubectl")).build();
        var cluster = Cluster.Builder.create(stack, "Cluster").vpc(vpc).version(KubernetesVersion.of("1.35")).kubectlProviderOptions(kubectl).build();
        var kubernetes = KubernetesAccess.fromEksV2(cluster, KubernetesAccessOptions.builder().namespace("orders").build());
        KubernetesPrerequisites.Builder.create(stack, "Prerequisites").kubernetes(kubernetes).build();
        var services = ServiceHost.kubernetesServices(kubernetes, WorkloadImage.fromDirectory("services"));

        var pipeline = EventDrivenOrderPipeline.Builder.create(stack, "Pipeline")
            .vpc(vpc)
            .migration(services.job(List.of("node", "migrate.js")))
            .commandApi(services.run(List.of("node", "api-write-service.js")))
            .queryApi(services.run(List.of("node", "api-read-service.js")))
            .outboxRelay(services.run(List.of("node", "outbox-relay.js")))
            .build();
        pipeline.addConsumer("Inventory", PipelineConsumerOptions.builder()
            .events(List.of("inventory.validated", "order.confirmed"))
            .database(DatabaseSide.COMMAND)
            .target(services.consume(List.of("node", "inventory-service.js")))
            .build());
        app.synth();
    }
}
