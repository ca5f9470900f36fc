// Kafka's own Java consumer and producer with a HashMap between them: what an engine can only add to.

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class PlainPeer {
    public static void main(String[] arguments) throws Exception {
        Map<String, Job.Declared> table = Job.loadDeclared();
        Job.waitForGo();
        List<TopicPartition> partitions =
                Arrays.stream(System.getenv("PIPELINE_PARTITIONS").split(","))
                        .map(number -> new TopicPartition(Job.EVENTS, Integer.parseInt(number)))
                        .toList();
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(
                                Job.consumerProperties(),
                                new ByteArrayDeserializer(),
                                new ByteArrayDeserializer());
                KafkaProducer<byte[], byte[]> producer =
                        new KafkaProducer<>(
                                Job.producerProperties(),
                                new ByteArraySerializer(),
                                new ByteArraySerializer())) {
            consumer.assign(partitions);
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    Job.Event event = Job.event(record.value());
                    byte[] decision = Job.decide(event, table.get(event.unit));
                    producer.send(
                            new ProducerRecord<>(
                                    Job.DECISIONS, record.partition(), record.key(), decision));
                }
            }
        }
    }
}
