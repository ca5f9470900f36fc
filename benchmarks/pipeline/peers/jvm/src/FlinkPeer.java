// Apache Flink: a Kafka source, one map over a HashMap that its tasks share, a Kafka sink, in a
// MiniCluster of this process. Objects are reused between the chained operators; at least once.

import java.util.Map;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

public final class FlinkPeer {
    private static Map<String, Job.Declared> table;

    /** Values only; the key is in the event. */
    static final class Values implements KafkaRecordDeserializationSchema<byte[]> {
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<byte[]> out) {
            out.collect(record.value());
        }

        public TypeInformation<byte[]> getProducedType() {
            return PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
        }
    }

    static final class Decide extends RichMapFunction<byte[], byte[]> {
        private transient Map<String, Job.Declared> declared;

        public void open(OpenContext context) {
            declared = table;
        }

        public byte[] map(byte[] value) {
            Job.Event event = Job.event(value);
            return Job.decide(event, declared.get(event.unit));
        }
    }

    static final class Records implements KafkaRecordSerializationSchema<byte[]> {
        public ProducerRecord<byte[], byte[]> serialize(
                byte[] decision, KafkaSinkContext context, Long timestamp) {
            return new ProducerRecord<>(Job.DECISIONS, decision);
        }
    }

    public static void main(String[] arguments) throws Exception {
        table = Job.loadDeclared();
        Job.waitForGo();
        Configuration configuration = new Configuration();
        configuration.set(RestOptions.PORT, 0);
        StreamExecutionEnvironment environment =
                StreamExecutionEnvironment.createLocalEnvironment(Job.THREADS, configuration);
        environment.getConfig().enableObjectReuse();
        environment.enableCheckpointing(30_000);
        Properties consumer = Job.consumerProperties();
        KafkaSource<byte[]> source =
                KafkaSource.<byte[]>builder()
                        .setBootstrapServers(Job.BROKER)
                        .setTopics(Job.EVENTS)
                        .setGroupId(Job.GROUP)
                        .setProperties(consumer)
                        .setStartingOffsets(OffsetsInitializer.earliest())
                        .setDeserializer(new Values())
                        .build();
        KafkaSink<byte[]> sink =
                KafkaSink.<byte[]>builder()
                        .setBootstrapServers(Job.BROKER)
                        .setKafkaProducerConfig(Job.producerProperties())
                        .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                        .setRecordSerializer(new Records())
                        .build();
        environment
                .fromSource(source, WatermarkStrategy.noWatermarks(), "events")
                .map(new Decide())
                .returns(PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO)
                .sinkTo(sink);
        environment.execute("gate");
    }
}
