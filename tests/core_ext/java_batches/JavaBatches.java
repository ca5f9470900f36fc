/*
 * Writes record batches as Kafka's own Java client builds them, one file a compression, for
 * test_java_batches.py. Run by hand when Kafka changes; what it writes is committed:
 *
 *     java -cp "$HOME/.cache/gatejoin/kafka-4.3.1/*" JavaBatches.java .
 */
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.TimestampType;

public class JavaBatches {
    public static void main(String[] arguments) throws Exception {
        for (CompressionType type : CompressionType.values()) {
            ByteBuffer buffer = ByteBuffer.allocate(1 << 16);
            MemoryRecordsBuilder builder = MemoryRecords.builder(
                buffer, Compression.of(type).build(), TimestampType.CREATE_TIME, 1000L);
            for (int i = 0; i < 40; i++) {
                byte[] key = i % 5 == 0 ? null : ("K" + i).getBytes(StandardCharsets.UTF_8);
                byte[] value = i % 7 == 0
                    ? null
                    : "{\"unit\":\"MSDU5898660\",\"n\":".concat(i + "}").repeat(i % 4)
                        .getBytes(StandardCharsets.UTF_8);
                Header[] headers = i % 3 == 0
                    ? new Header[] {new RecordHeader("h", "v".getBytes(StandardCharsets.UTF_8)),
                                    new RecordHeader("none", (byte[]) null)}
                    : new Header[0];
                builder.append(1533814400000L + i * 7 - (i % 2) * 1000, key, value, headers);
            }
            MemoryRecords records = builder.build();
            ByteBuffer built = records.buffer();
            byte[] bytes = new byte[built.remaining()];
            built.get(bytes);
            Files.write(Path.of(arguments[0], type.name + ".batch"), bytes);
        }
    }
}
