package tidegate.flink;

import java.io.IOException;
import java.util.Properties;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichFilterFunction;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/** The job as a tutorial writes it: a step an operator, trees, windows that keep their events, defaults. */
final class Tutorial {
  private Tutorial() {}

  static void build(StreamExecutionEnvironment environment, Settings settings) {
    var defaults = new Properties();
    var events =
        environment
            .fromSource(Kafka.source(settings, Parsers.Tree::new, defaults), Kafka.watermarks(), "raw")
            .filter(new People(settings))
            .map(new Enrich(settings));
    events.sinkTo(Kafka.processed(settings, defaults).build());
    events
        .filter(event -> event.type.equals(Rule.EVENT_TYPE))
        .keyBy(event -> event.service)
        .window(TumblingEventTimeWindows.of(Rule.WINDOW))
        .process(new Raise())
        .sinkTo(Kafka.alerts(settings, defaults).build());
  }

  private static final class People extends RichFilterFunction<Event> {
    private final Settings settings;
    private transient Bots bots;

    People(Settings settings) {
      this.settings = settings;
    }

    @Override
    public void open(OpenContext context) throws IOException {
      bots = settings.newBots();
    }

    @Override
    public boolean filter(Event event) {
      return !bots.isBot(event.userAgent);
    }
  }

  private static final class Enrich extends RichMapFunction<Event, Event> {
    private final Settings settings;
    private transient Enricher enricher;

    Enrich(Settings settings) {
      this.settings = settings;
    }

    @Override
    public void open(OpenContext context) throws IOException {
      enricher = settings.newEnricher();
    }

    @Override
    public Event map(Event event) throws IOException {
      event.value = enricher.rewritten(event);
      return event;
    }
  }

  private static final class Raise extends ProcessWindowFunction<Event, Alert, String, TimeWindow> {
    @Override
    public void process(String service, Context context, Iterable<Event> events, Collector<Alert> out) {
      long count = 0;
      for (var event : events) {
        count++;
      }
      if (count > Rule.THRESHOLD) {
        out.collect(new Alert(service, context.window().getStart(), count));
      }
    }
  }
}
