package tidegate.flink;

import java.util.Arrays;
import org.apache.flink.client.deployment.application.ApplicationClusterEntryPoint;
import org.apache.flink.client.program.PackagedProgram;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.GlobalConfiguration;
import org.apache.flink.runtime.entrypoint.ClusterEntrypoint;
import org.apache.flink.runtime.resourcemanager.StandaloneResourceManagerFactory;

/** A standalone cluster's JobManager in application mode: it runs {@link Job}, and ends with it. */
final class JobManager extends ApplicationClusterEntryPoint {
  private JobManager(Configuration configuration, PackagedProgram job) {
    super(configuration, job, StandaloneResourceManagerFactory.getInstance());
  }

  /** The directory of config.yaml, and the job's arguments. */
  public static void main(String[] args) throws Exception {
    var configuration = GlobalConfiguration.loadConfiguration(args[0]);
    var job =
        PackagedProgram.newBuilder()
            .setEntryPointClassName(Job.class.getName())
            .setArguments(Arrays.copyOfRange(args, 1, args.length))
            .setConfiguration(configuration)
            .build();
    configureExecution(configuration, job);
    ClusterEntrypoint.runClusterEntrypoint(new JobManager(configuration, job));
  }
}
