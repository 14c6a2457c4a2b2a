import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The join with the Processor API of Kafka Streams and in-memory key-value stores with a punctuator
 * that forgets: the fastest of its forms that were tried (a window store walks every millisecond of
 * its window). One stream thread, at least once, all other settings as they come.
 */
public class PairJoin {
  static final int HEAD_BYTES = 10;
  static final long WINDOW_MS = Long.parseLong(System.getenv("PEER_WINDOW_MS"));
  static final long EARLY_MS = Long.parseLong(System.getenv("PEER_EARLY_MS"));
  static final long KEPT_MS = WINDOW_MS + EARLY_MS + 30_000;
  static final com.sun.management.OperatingSystemMXBean SYSTEM =
      (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
  static volatile long events;
  static volatile long pairs;
  static volatile long first;
  static volatile long last;
  static volatile long firstCpu;

  /** What the state keeps of a prediction, or of an event that came before it. */
  record Kept(long at, String experiment, String variant, String metric, double value) {
    static final Serde<Kept> SERDE = Serdes.serdeFrom((topic, kept) -> kept == null ? null : kept.bytes(),
        (topic, bytes) -> bytes == null ? null : of(bytes));

    byte[] bytes() {
      byte[] text = (experiment + '|' + variant + '|' + metric).getBytes(StandardCharsets.UTF_8);
      return ByteBuffer.allocate(16 + text.length).putLong(at).putDouble(value).put(text).array();
    }

    static Kept of(byte[] bytes) {
      String text = new String(bytes, 16, bytes.length - 16, StandardCharsets.UTF_8);
      int one = text.indexOf('|');
      int two = text.indexOf('|', one + 1);
      ByteBuffer buffer = ByteBuffer.wrap(bytes);
      return new Kept(buffer.getLong(), text.substring(0, one), text.substring(one + 1, two),
          text.substring(two + 1), buffer.getDouble());
    }
  }

  record Sums(long count, double total, double squares) {
    static final Serde<Sums> SERDE = Serdes.serdeFrom(
        (topic, sums) -> sums == null ? null : ByteBuffer.allocate(24)
            .putLong(sums.count).putDouble(sums.total).putDouble(sums.squares).array(),
        (topic, bytes) -> {
          if (bytes == null) {
            return null;
          }
          ByteBuffer buffer = ByteBuffer.wrap(bytes);
          return new Sums(buffer.getLong(), buffer.getDouble(), buffer.getDouble());
        });

    String json() {
      return "[" + count + "," + total + "," + squares + "]";
    }
  }

  /** Single-object encoding; a tick has no value and stays null. */
  static Deserializer<GenericRecord> avro(String name) throws IOException {
    String text = Files.readString(Path.of(System.getenv("PEER_SCHEMAS"), name + ".v1.avsc"));
    // Java strings instead of Avro's own, which would have to be converted at each use.
    text = text.replace("\"type\": \"string\"",
        "\"type\": {\"type\": \"string\", \"avro.java.string\": \"String\"}");
    Schema schema = new Schema.Parser().parse(text);
    GenericDatumReader<GenericRecord> reader = new GenericDatumReader<>(schema);
    reader.getData().setFastReaderEnabled(true);
    return new Deserializer<>() {
      BinaryDecoder decoder;

      @Override
      public GenericRecord deserialize(String topic, byte[] bytes) {
        if (bytes == null) {
          return null;
        }
        try {
          decoder = DecoderFactory.get()
              .binaryDecoder(bytes, HEAD_BYTES, bytes.length - HEAD_BYTES, decoder);
          return reader.read(null, decoder);
        } catch (IOException error) {
          throw new IllegalStateException(error);
        }
      }
    };
  }

  static class Join implements Processor<String, GenericRecord, String, String> {
    static final String[] EARLY_KINDS = {"o", "s"};
    ProcessorContext<String, String> context;
    KeyValueStore<String, Kept> predictions;
    KeyValueStore<String, Kept> early;
    KeyValueStore<String, Sums> sums;
    final Set<String> changed = new HashSet<>();

    @Override
    public void init(ProcessorContext<String, String> context) {
      this.context = context;
      predictions = context.getStateStore("predictions");
      early = context.getStateStore("early");
      sums = context.getStateStore("sums");
      context.schedule(Duration.ofSeconds(1), PunctuationType.WALL_CLOCK_TIME, at -> {
        for (String key : changed) {
          context.forward(new Record<>(key, sums.get(key).json(), at));
        }
        changed.clear();
      });
      context.schedule(Duration.ofSeconds(10), PunctuationType.STREAM_TIME, at -> {
        forget(predictions, at - KEPT_MS);
        forget(early, at - KEPT_MS);
      });
    }

    @Override
    public void process(Record<String, GenericRecord> record) {
      GenericRecord value = record.value();
      if (value == null) {
        return;
      }
      String key = record.key();
      switch (value.getSchema().getName()) {
        case "Prediction" -> open(key, new Kept((Long) value.get("served_at"),
            (String) value.get("experiment"), (String) value.get("variant"), "", 0));
        case "ShadowPrediction" -> join("s", key, new Kept((Long) value.get("served_at"),
            "", (String) value.get("variant"), "score", (Double) value.get("score")));
        default -> join("o", key, new Kept((Long) value.get("occurred_at"),
            "", "", (String) value.get("metric"), (Double) value.get("value")));
      }
      count();
    }

    void open(String key, Kept prediction) {
      predictions.put(key, prediction);
      for (String kind : EARLY_KINDS) {
        Kept waiting = early.get(kind + key);
        if (waiting != null) {
          if (inWindow(waiting.at - prediction.at)) {
            add(prediction, waiting);
          }
          early.delete(kind + key);
        }
      }
    }

    void join(String kind, String key, Kept event) {
      Kept prediction = predictions.get(key);
      if (prediction == null) {
        early.put(kind + key, event);
      } else if (inWindow(event.at - prediction.at)) {
        add(prediction, event);
      }
    }

    void add(Kept prediction, Kept event) {
      String variant = event.variant.isEmpty() ? prediction.variant : event.variant;
      String key = prediction.experiment + '|' + variant + '|' + event.metric + '|'
          + context.taskId().partition();
      Sums old = sums.get(key);
      double value = event.value;
      sums.put(key, old == null ? new Sums(1, value, value * value)
          : new Sums(old.count + 1, old.total + value, old.squares + value * value));
      changed.add(key);
      pairs++;
    }

    static boolean inWindow(long after) {
      return -EARLY_MS <= after && after < WINDOW_MS;
    }

    static void forget(KeyValueStore<String, Kept> store, long before) {
      List<String> old = new ArrayList<>();
      try (KeyValueIterator<String, Kept> all = store.all()) {
        while (all.hasNext()) {
          KeyValue<String, Kept> item = all.next();
          if (item.value.at < before) {
            old.add(item.key);
          }
        }
      }
      old.forEach(store::delete);
    }
  }

  static void count() {
    long now = System.currentTimeMillis();
    if (first == 0) {
      first = now;
      firstCpu = SYSTEM.getProcessCpuTime();
    }
    last = now;
    events++;
  }

  static Topology topology() throws IOException {
    String prefix = System.getenv("PEER_PREFIX");
    Deserializer<String> text = Serdes.String().deserializer();
    return new Topology()
        .addSource("p", text, avro("prediction"), prefix + "predictions")
        .addSource("s", text, avro("shadow-prediction"), prefix + "shadow-predictions")
        .addSource("o", text, avro("outcome"), prefix + "outcomes")
        .addProcessor("join", Join::new, "p", "s", "o")
        .addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("predictions"),
            Serdes.String(), Kept.SERDE), "join")
        .addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("early"),
            Serdes.String(), Kept.SERDE), "join")
        .addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("sums"),
            Serdes.String(), Sums.SERDE).withCachingEnabled(), "join")
        .addSink("out", System.getenv("PEER_OUTPUT"), Serdes.String().serializer(),
            Serdes.String().serializer(), "join");
  }

  public static void main(String[] arguments) throws Exception {
    Properties settings = new Properties();
    settings.put("application.id", System.getenv("PEER_GROUP"));
    settings.put("bootstrap.servers", System.getenv("PEER_BOOTSTRAP"));
    settings.put("state.dir", System.getenv("PEER_STATE"));
    settings.put("auto.offset.reset", "earliest");
    settings.put("processing.guarantee", "at_least_once");
    settings.put("replication.factor", "1");
    long wanted = Long.parseLong(System.getenv("PEER_EVENTS"));
    KafkaStreams streams = new KafkaStreams(topology(), settings);
    streams.start();
    while (events < wanted && streams.state() != KafkaStreams.State.ERROR) {
      Thread.sleep(20);
    }
    System.out.printf("RESULT {\"events\": %d, \"seconds\": %f, \"cpu_seconds\": %f, "
            + "\"memory_mb\": %d, \"pairs\": %d}%n",
        events, (last - first) / 1e3, (SYSTEM.getProcessCpuTime() - firstCpu) / 1e9,
        Runtime.getRuntime().totalMemory() >> 20, pairs);
    streams.close(Duration.ofSeconds(10));
    System.exit(0);
  }
}
