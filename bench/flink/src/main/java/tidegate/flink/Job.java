package tidegate.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** What `tidegate run` does with the default configuration, as far as the benchmark's input asks for it. */
public final class Job {
  private Job() {}

  /** Runs to the end of the input, or for ever. */
  public static void main(String[] args) throws Exception {
    var settings = Settings.of(args);
    var configuration = new Configuration();
    // a benchmark that fails is no figure
    configuration.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
    var environment = StreamExecutionEnvironment.getExecutionEnvironment(configuration);
    environment.setParallelism(settings.parallelism());
    environment.enableCheckpointing(settings.checkpointMs());
    switch (settings.form()) {
      case "best" -> Best.build(environment, settings);
      case "tutorial" -> Tutorial.build(environment, settings);
      default -> throw new IllegalArgumentException("form: best or tutorial");
    }
    environment.execute(settings.group());
  }
}
