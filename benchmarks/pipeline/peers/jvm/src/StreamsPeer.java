// Kafka Streams: events joined with a GlobalKTable of the declared containers.
//
// The table's store is a HashMap of our own under the built-in interface: the built-in in-memory one
// keeps an ordered tree and is slower. Commits every 30 s, two threads, caches off.

import com.alibaba.fastjson2.JSON;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

public final class StreamsPeer {
    /** A key-value store over a HashMap. It is filled before events are read, then only asked. */
    static final class HashMapStore implements KeyValueStore<Bytes, byte[]> {
        private final Map<Bytes, byte[]> map = new HashMap<>(1 << 21);
        private boolean open;

        public String name() {
            return "declared";
        }

        public void init(StateStoreContext context, StateStore root) {
            context.register(root, (key, value) -> put(Bytes.wrap(key), value));
            open = true;
        }

        public void flush() {}

        public void close() {
            open = false;
        }

        public boolean persistent() {
            return false;
        }

        public boolean isOpen() {
            return open;
        }

        public void put(Bytes key, byte[] value) {
            if (value == null) {
                map.remove(key);
            } else {
                map.put(key, value);
            }
        }

        public byte[] putIfAbsent(Bytes key, byte[] value) {
            return map.putIfAbsent(key, value);
        }

        public void putAll(List<KeyValue<Bytes, byte[]>> entries) {
            entries.forEach(entry -> put(entry.key, entry.value));
        }

        public byte[] delete(Bytes key) {
            return map.remove(key);
        }

        public byte[] get(Bytes key) {
            return map.get(key);
        }

        public KeyValueIterator<Bytes, byte[]> range(Bytes from, Bytes to) {
            throw new UnsupportedOperationException("the job only looks keys up");
        }

        public KeyValueIterator<Bytes, byte[]> all() {
            throw new UnsupportedOperationException("the job only looks keys up");
        }

        public long approximateNumEntries() {
            return map.size();
        }
    }

    static final class HashMapSupplier implements KeyValueBytesStoreSupplier {
        public String name() {
            return "declared";
        }

        public KeyValueStore<Bytes, byte[]> get() {
            return new HashMapStore();
        }

        public String metricsScope() {
            return "in-memory";
        }
    }

    private static <T> Serde<T> json(Class<T> type) {
        Serializer<T> serializer = (topic, value) -> JSON.toJSONBytes(value);
        Deserializer<T> deserializer =
                (topic, bytes) -> bytes == null ? null : JSON.parseObject(bytes, type);
        return Serdes.serdeFrom(serializer, deserializer);
    }

    public static void main(String[] arguments) throws Exception {
        Job.waitForGo();
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, Job.GROUP);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, Job.BROKER);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Job.THREADS);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 30_000);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        properties.put(
                StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("streams").toString());
        Job.consumerProperties().forEach((key, value) -> {
            if (!key.equals("group.id")) {
                properties.put(StreamsConfig.MAIN_CONSUMER_PREFIX + key, value);
            }
        });
        Job.producerProperties()
                .forEach((key, value) -> properties.put(StreamsConfig.PRODUCER_PREFIX + key, value));

        StreamsBuilder builder = new StreamsBuilder();
        GlobalKTable<String, Job.Declared> declared =
                builder.globalTable(
                        System.getenv("PIPELINE_DECLARED_TOPIC"),
                        Materialized.<String, Job.Declared>as(new HashMapSupplier())
                                .withKeySerde(Serdes.String())
                                .withValueSerde(json(Job.Declared.class)));
        builder.stream(Job.EVENTS, Consumed.with(Serdes.String(), json(Job.Event.class)))
                .leftJoin(declared, (key, event) -> event.unit, Job::decide)
                .to(Job.DECISIONS, Produced.with(Serdes.String(), Serdes.ByteArray()));
        KafkaStreams streams = new KafkaStreams(builder.build(), properties);
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(ended::countDown));
        streams.start();
        ended.await();
    }
}
