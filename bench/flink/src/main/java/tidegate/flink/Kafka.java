package tidegate.flink;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.lineage.DefaultKafkaDatasetFacet;
import org.apache.flink.connector.kafka.lineage.DefaultKafkaDatasetIdentifier;
import org.apache.flink.connector.kafka.lineage.KafkaDatasetFacet;
import org.apache.flink.connector.kafka.lineage.KafkaDatasetFacetProvider;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.KafkaSinkBuilder;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.flink.util.function.SerializableSupplier;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.kafka.clients.producer.ProducerRecord;

/** The ends of the job. */
final class Kafka {
  /** Below the broker's highest (15 min), above which it refuses; the sink's default is an hour. */
  private static final String TRANSACTION_TIMEOUT_MS = "600000";

  private Kafka() {}

  static KafkaSource<Event> source(Settings settings, SerializableSupplier<Parsers.Parser> parser, Properties tuning) {
    var source =
        KafkaSource.<Event>builder()
            .setBootstrapServers(settings.kafka())
            .setTopics(settings.input())
            .setGroupId(settings.group())
            .setStartingOffsets(OffsetsInitializer.committedOffsets(OffsetResetStrategy.EARLIEST))
            .setProperties(tuning)
            .setDeserializer(new Reading(parser));
    if (settings.bounded()) {
      source.setBounded(OffsetsInitializer.latest());
    }
    return source.build();
  }

  /** Made in the source, for each partition by itself: later ones would make a backlog's events late. */
  static WatermarkStrategy<Event> watermarks() {
    return WatermarkStrategy.<Event>forBoundedOutOfOrderness(Rule.MAX_DISORDER)
        .withTimestampAssigner((event, timestamp) -> event.time);
  }

  static KafkaSinkBuilder<Event> processed(Settings settings, Properties tuning) {
    return sink(settings, new Processed(settings.processed()), tuning);
  }

  static KafkaSinkBuilder<Alert> alerts(Settings settings, Properties tuning) {
    return sink(settings, new Alerts(settings.alerts()), tuning);
  }

  private static <T> KafkaSinkBuilder<T> sink(Settings settings, Writing<T> writing, Properties tuning) {
    return KafkaSink.<T>builder()
        .setBootstrapServers(settings.kafka())
        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .setTransactionalIdPrefix(writing.topic)
        .setRecordSerializer(writing)
        .setKafkaProducerConfig(tuning)
        .setProperty("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
  }

  private static final class Reading implements KafkaRecordDeserializationSchema<Event> {
    private final SerializableSupplier<Parsers.Parser> newParser;
    private transient Parsers.Parser parser;

    Reading(SerializableSupplier<Parsers.Parser> newParser) {
      this.newParser = newParser;
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Event> out) throws IOException {
      if (parser == null) {
        parser = newParser.get();
      }
      var event = new Event();
      event.key = record.key();
      event.value = record.value();
      event.partition = record.partition();
      event.timestamp = record.timestamp();
      parser.parse(event);
      out.collect(event);
    }

    @Override
    public TypeInformation<Event> getProducedType() {
      return TypeInformation.of(Event.class);
    }
  }

  /** Flink has to know the topic of a sink that reuses its transactional ids. */
  private abstract static class Writing<T> implements KafkaRecordSerializationSchema<T>, KafkaDatasetFacetProvider {
    final String topic;

    Writing(String topic) {
      this.topic = topic;
    }

    @Override
    public Optional<KafkaDatasetFacet> getKafkaDatasetFacet() {
      return Optional.of(new DefaultKafkaDatasetFacet(DefaultKafkaDatasetIdentifier.ofTopics(List.of(topic))));
    }
  }

  /** Partition and timestamp as in the input. */
  private static final class Processed extends Writing<Event> {
    Processed(String topic) {
      super(topic);
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(Event event, KafkaSinkContext context, Long timestamp) {
      return new ProducerRecord<>(topic, event.partition, event.timestamp, event.key, event.value);
    }
  }

  private static final class Alerts extends Writing<Alert> {
    private transient ObjectMapper mapper;

    Alerts(String topic) {
      super(topic);
    }

    @Override
    public void open(SerializationSchema.InitializationContext context, KafkaSinkContext sinkContext) {
      mapper = new ObjectMapper();
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(Alert alert, KafkaSinkContext context, Long timestamp) {
      var json = new LinkedHashMap<String, Object>();
      json.put("id", Rule.NAME + "/" + alert.service + "/" + alert.windowStart);
      json.put("rule", Rule.NAME);
      json.put("phase", "closed");
      json.put("service", alert.service);
      json.put("message", "High error rate: " + alert.count + " errors in 60s");
      json.put("count", alert.count);
      json.put("threshold", Rule.THRESHOLD);
      json.put("window_start", alert.windowStart);
      json.put("window_end", alert.windowStart + Rule.WINDOW.toMillis());
      try {
        var key = alert.service.getBytes(StandardCharsets.UTF_8);
        return new ProducerRecord<>(topic, null, System.currentTimeMillis(), key, mapper.writeValueAsBytes(json));
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  }
}
