package tidegate.flink;

import java.io.IOException;
import java.util.Properties;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/** The job as somebody writes it who knows Flink and wants it fast. */
final class Best {
  /** Services of errors; the rest of the event does not have to go through the shuffle. */
  private static final OutputTag<String> ERRORS = new OutputTag<>("errors", Types.STRING);

  private Best() {}

  static void build(StreamExecutionEnvironment environment, Settings settings) {
    environment.getConfig().enableObjectReuse();
    var events =
        environment
            .fromSource(Kafka.source(settings, Parsers.Streaming::new, reading()), Kafka.watermarks(), "raw")
            .process(new Work(settings));
    events.sinkTo(
        Kafka.processed(settings, writing()).setTransactionNamingStrategy(TransactionNamingStrategy.POOLING).build());
    events
        .getSideOutput(ERRORS)
        .keyBy(service -> service)
        .window(TumblingEventTimeWindows.of(Rule.WINDOW))
        .aggregate(new Count(), new Raise())
        .sinkTo(
            Kafka.alerts(settings, writing()).setTransactionNamingStrategy(TransactionNamingStrategy.POOLING).build());
  }

  private static Properties reading() {
    var tuning = new Properties();
    tuning.setProperty("max.poll.records", "5000");
    tuning.setProperty("fetch.max.bytes", "16777216");
    return tuning;
  }

  private static Properties writing() {
    var tuning = new Properties();
    tuning.setProperty("compression.type", "lz4");
    tuning.setProperty("linger.ms", "50");
    tuning.setProperty("batch.size", "500000");
    tuning.setProperty("buffer.memory", "67108864");
    return tuning;
  }

  /** All that needs no key, in one operator. */
  private static final class Work extends ProcessFunction<Event, Event> {
    private final Settings settings;
    private transient Bots bots;
    private transient Enricher enricher;

    Work(Settings settings) {
      this.settings = settings;
    }

    @Override
    public void open(OpenContext context) throws IOException {
      bots = settings.newBots();
      enricher = settings.newEnricher();
    }

    @Override
    public void processElement(Event event, Context context, Collector<Event> out) throws IOException {
      if (bots.isBot(event.userAgent)) {
        return;
      }
      if (event.type.equals(Rule.EVENT_TYPE)) {
        context.output(ERRORS, event.service);
      }
      event.value = enricher.spliced(event);
      out.collect(event);
    }
  }

  private static final class Count implements AggregateFunction<String, Long, Long> {
    @Override
    public Long createAccumulator() {
      return 0L;
    }

    @Override
    public Long add(String service, Long count) {
      return count + 1;
    }

    @Override
    public Long getResult(Long count) {
      return count;
    }

    @Override
    public Long merge(Long one, Long other) {
      return one + other;
    }
  }

  private static final class Raise extends ProcessWindowFunction<Long, Alert, String, TimeWindow> {
    @Override
    public void process(String service, Context context, Iterable<Long> counts, Collector<Alert> out) {
      var count = counts.iterator().next();
      if (count > Rule.THRESHOLD) {
        out.collect(new Alert(service, context.window().getStart(), count));
      }
    }
  }
}
