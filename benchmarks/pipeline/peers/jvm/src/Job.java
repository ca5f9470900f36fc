// The job as every peer on the Java virtual machine does it: what to read, the table, one decision.
//
// Who calls it: the programs beside it, each of which shows only its engine. JSON is fastjson2's,
// the fastest of the usual libraries (Jackson takes nearly twice as long).

import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.annotation.JSONType;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;

public final class Job {
    public static final String BROKER = System.getenv("PIPELINE_BROKER");
    public static final String EVENTS = System.getenv("PIPELINE_EVENTS");
    public static final String DECISIONS = System.getenv("PIPELINE_DECISIONS");
    public static final String GROUP = System.getenv("PIPELINE_GROUP");
    public static final String DECLARED = System.getenv("PIPELINE_DECLARED");
    public static final int THREADS =
            Integer.parseInt(System.getenv().getOrDefault("PIPELINE_THREADS", "1"));

    public static final int FETCH_BYTES = 4 << 20;
    public static final int BATCH_BYTES = 512 << 10;
    public static final int LINGER_MS = 20;

    /** The fields of an event that the job needs; the others are skipped. */
    public static final class Event {
        public String eventID;
        public String operatorID;
        public String locationCode;
        public String unit;
    }

    @JSONType(orders = {"eventID", "operatorID", "locationCode", "unit", "outcome", "reason"})
    public static final class Decision {
        public String eventID;
        public String operatorID;
        public String locationCode;
        public String unit;
        public String outcome;
        public String reason;
    }

    public static final class Declared {
        public String unit;
        public String status;
        public String locationCode;
    }

    private Job() {}

    public static Event event(byte[] value) {
        return JSON.parseObject(value, Event.class);
    }

    public static byte[] decide(Event event, Declared declared) {
        Decision decision = new Decision();
        decision.eventID = event.eventID;
        decision.operatorID = event.operatorID;
        decision.locationCode = event.locationCode;
        decision.unit = event.unit;
        decision.outcome = "HOLD";
        if (declared == null) {
            decision.reason = "UNDECLARED";
        } else if (!declared.locationCode.equals(event.locationCode)) {
            decision.reason = "WRONG_PORT";
        } else if (!declared.status.equals("CLEARED")) {
            decision.reason = "REGISTERED";
        } else {
            decision.outcome = "RELEASE";
            decision.reason = "CLEARED";
        }
        return JSON.toJSONBytes(decision);
    }

    /** The table, from the file with a JSON object a line. */
    public static Map<String, Declared> loadDeclared() throws IOException {
        Map<String, Declared> table = new HashMap<>(1 << 21);
        try (BufferedReader lines =
                Files.newBufferedReader(Path.of(DECLARED), StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                Declared row = JSON.parseObject(line, Declared.class);
                row.status = row.status.intern();
                row.locationCode = row.locationCode.intern();
                table.put(row.unit, row);
            }
        }
        return table;
    }

    /** Tells the harness that all is there, and waits until it says go. */
    public static void waitForGo() throws IOException {
        System.out.println("ready");
        System.out.flush();
        while (System.in.read() != '\n') {
            // The line's text means nothing.
        }
    }

    public static Properties consumerProperties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", BROKER);
        properties.put("group.id", GROUP);
        properties.put("auto.offset.reset", "earliest");
        properties.put("fetch.max.bytes", 4 * FETCH_BYTES);
        properties.put("max.partition.fetch.bytes", FETCH_BYTES);
        properties.put("receive.buffer.bytes", 1 << 20);
        properties.put("max.poll.records", 10_000);
        return properties;
    }

    public static Properties producerProperties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", BROKER);
        properties.put("acks", "1");
        properties.put("enable.idempotence", "false");
        properties.put("linger.ms", LINGER_MS);
        properties.put("batch.size", BATCH_BYTES);
        properties.put("buffer.memory", 256L << 20);
        properties.put("send.buffer.bytes", 1 << 20);
        properties.put("max.request.size", 8 << 20);
        return properties;
    }
}
