import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Exit;

/**
 * Kafka's own classes, driven by lines on standard input, so that one Java process does many things.
 *
 * <p>A request is a line of fields separated by tabs. The answer is any number of lines that begin
 * with "> ", then "ok" or "error" and what went wrong. Bytes are written as hexadecimal digits, a
 * null as "-". The end of the input ends the process, so it never outlives the process that started it.
 */
public final class Driver {
  private static final long PATIENCE_MS = 60_000;

  private static final PrintStream ANSWERS =
      new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

  /** Where what tools print goes: streams are remembered by some classes, so it never changes. */
  private static final ByteArrayOutputStream PRINTED = new ByteArrayOutputStream();

  /** Thrown where a tool would end the process. */
  private static final class Exited extends RuntimeException {
    Exited(int code, String message) {
      super("exit " + code + (message == null ? "" : ": " + message));
    }
  }

  /** Shows the bytes of keys and values in DumpLogSegments. */
  public static final class HexDecoder implements org.apache.kafka.tools.api.Decoder<String> {
    @Override
    public String fromBytes(byte[] bytes) {
      return hex(bytes);
    }
  }

  public static void main(String[] arguments) throws Exception {
    if (arguments.length == 2 && arguments[0].equals("broker")) {
      runBroker(arguments[1]);
      return;
    }
    System.setOut(new PrintStream(PRINTED, true, StandardCharsets.UTF_8));
    System.setErr(System.out);
    Exit.setExitProcedure((code, message) -> { throw new Exited(code, message); });
    Exit.setHaltProcedure((code, message) -> { throw new Exited(code, message); });
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      String[] fields = line.split("\t", -1);
      try {
        answer(fields[0], Arrays.copyOfRange(fields, 1, fields.length));
        ANSWERS.println("ok");
      } catch (Throwable wrong) {
        wrong.printStackTrace(System.out);
        tellPrinted();
        ANSWERS.println("error " + wrong.toString().replace('\n', ' '));
      }
      PRINTED.reset();
      ANSWERS.flush();
    }
    Runtime.getRuntime().halt(0);
  }

  /** A broker that stops cleanly on a line of input, and at once when the input ends. */
  private static void runBroker(String properties) {
    Thread watcher = new Thread(() -> {
      try {
        int read = System.in.read();
        if (read >= 0) {
          System.exit(0);
        }
      } catch (IOException ignored) {
        // Treated as the end of the input.
      }
      Runtime.getRuntime().halt(3);
    });
    watcher.setDaemon(true);
    watcher.start();
    kafka.Kafka.main(new String[] {properties});
  }

  private static void answer(String what, String[] f) throws Exception {
    switch (what) {
      case "tool" -> tool(f[0], Arrays.copyOfRange(f, 1, f.length));
      case "partitions" -> partitions(Integer.parseInt(f[0]), Path.of(f[1]));
      case "read" -> read(f[0], f[1], f[2]);
      case "group" -> group(f[0], f[1], f[2], Integer.parseInt(f[3]), f.length > 4 ? f[4] : "");
      case "produce" -> produce(f[0], f[1], f[2], Path.of(f[3]));
      case "fill" -> fill(f[0], f[1], Integer.parseInt(f[2]), Integer.parseInt(f[3]));
      case "transact" -> transact(f[0], f[1], f[2], f[3], Path.of(f[4]));
      case "await" -> await(f[0], f[1], Integer.parseInt(f[2]));
      case "quota" -> quota(f[0], f[1], Double.parseDouble(f[2]));
      case "quotas" -> quotas(f[0]);
      case "create" -> create(f[0], f[1], Integer.parseInt(f[2]), f[3]);
      case "topics" -> topics(f[0]);
      case "replicate" -> replicate(f[0], f[1]);
      case "voters" -> voters(f[0]);
      case "committed" -> committed(f[0], f[1]);
      case "delete-records" -> deleteRecords(f[0], f[1], Integer.parseInt(f[2]), Long.parseLong(f[3]));
      default -> throw new IllegalArgumentException("no such request: " + what);
    }
  }

  /** Runs the main method of a class of Kafka and tells what it printed. */
  private static void tool(String classes, String[] arguments) throws Exception {
    Class<?> found = null;
    for (String name : classes.split(",")) {
      try {
        found = Class.forName(name);
        break;
      } catch (ClassNotFoundException tryTheNext) {
        continue;
      }
    }
    if (found == null) {
      throw new IllegalArgumentException("no such class: " + classes);
    }
    try {
      found.getMethod("main", String[].class).invoke(null, (Object) arguments);
    } catch (InvocationTargetException wrong) {
      if (wrong.getCause() instanceof Exited exited && exited.getMessage().startsWith("exit 0")) {
        tellPrinted();
        return;
      }
      throw wrong.getCause() instanceof Exception cause ? cause : wrong;
    }
    tellPrinted();
  }

  private static void tellPrinted() {
    PRINTED.toString(StandardCharsets.UTF_8).lines().forEach(Driver::tell);
    PRINTED.reset();
  }

  private static void tell(String line) {
    ANSWERS.println("> " + line);
  }

  /** The partition that Kafka's producer gives to each key of a file. */
  private static void partitions(int count, Path keys) throws IOException {
    for (String line : Files.readAllLines(keys)) {
      tell(Integer.toString(BuiltInPartitioner.partitionForKey(unhex(line), count)));
    }
  }

  private static Properties properties(String bootstrap, String more) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("default.api.timeout.ms", Long.toString(PATIENCE_MS));
    for (String setting : more.isEmpty() ? new String[0] : more.split(";")) {
      String[] parts = setting.split("=", 2);
      properties.put(parts[0], parts[1]);
    }
    return properties;
  }

  private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String more) {
    Properties properties = properties(bootstrap, more);
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  /** Everything in a topic, from the start of each partition to its end. */
  private static void read(String bootstrap, String topic, String isolation) {
    Map<TopicPartition, Long> ends =
        scan(bootstrap, topic, isolation, record -> tell(show(record)));
    ends.forEach((partition, end) -> tell("end\t" + partition.partition() + "\t" + end));
  }

  private static Map<TopicPartition, Long> scan(String bootstrap, String topic, String isolation,
      java.util.function.Consumer<ConsumerRecord<byte[], byte[]>> look) {
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, "isolation.level=" + isolation)) {
      List<TopicPartition> all = new ArrayList<>();
      for (PartitionInfo info : consumer.partitionsFor(topic)) {
        all.add(new TopicPartition(topic, info.partition()));
      }
      consumer.assign(all);
      consumer.seekToBeginning(all);
      Map<TopicPartition, Long> ends = consumer.endOffsets(all);
      long until = System.currentTimeMillis() + PATIENCE_MS;
      while (all.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
        if (System.currentTimeMillis() > until) {
          throw new IllegalStateException("the ends were not reached: " + ends);
        }
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
          look.accept(record);
        }
      }
      Map<TopicPartition, Long> starts = consumer.beginningOffsets(all);
      starts.forEach((p, start) -> tell("start\t" + p.partition() + "\t" + start));
      return ends;
    }
  }

  /** Waits until the cleaner has left so many records of a topic at most. */
  private static void await(String bootstrap, String topic, int count) throws Exception {
    long until = System.currentTimeMillis() + PATIENCE_MS;
    for (int left = Integer.MAX_VALUE; left > count; left = count(bootstrap, topic)) {
      if (System.currentTimeMillis() > until) {
        throw new IllegalStateException(left + " records are left of " + topic);
      }
      Thread.sleep(200);
    }
  }

  private static int count(String bootstrap, String topic) {
    int[] seen = {0};
    scan(bootstrap, topic, "read_uncommitted", record -> seen[0]++);
    return seen[0];
  }

  /** What a member of a group gets, until it has so many records; then it commits. */
  private static void group(
      String bootstrap, String group, String topic, int count, String more) {
    String settings = "group.id=" + group + ";max.poll.records=" + Math.max(count, 1);
    try (KafkaConsumer<byte[], byte[]> consumer =
        consumer(bootstrap, more.isEmpty() ? settings : settings + ";" + more)) {
      consumer.subscribe(List.of(topic));
      int seen = 0;
      long until = System.currentTimeMillis() + PATIENCE_MS;
      while (seen < count) {
        if (System.currentTimeMillis() > until) {
          throw new IllegalStateException("only " + seen + " of " + count + " records came");
        }
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
          tell(show(record));
          seen++;
        }
      }
      consumer.commitSync();
    }
  }

  /** Partition, offset, kind of timestamp, timestamp, key, value, headers. */
  private static String show(ConsumerRecord<byte[], byte[]> record) {
    StringBuilder headers = new StringBuilder();
    for (Header header : record.headers()) {
      headers.append(headers.length() == 0 ? "" : ",");
      headers.append(hex(header.key().getBytes(StandardCharsets.UTF_8)));
      headers.append('=').append(hex(header.value()));
    }
    return String.join("\t", Integer.toString(record.partition()), Long.toString(record.offset()),
        record.timestampType().name, Long.toString(record.timestamp()), hex(record.key()),
        hex(record.value()), headers.toString());
  }

  private static KafkaProducer<byte[], byte[]> producer(String bootstrap, String more) {
    Properties properties = properties(bootstrap, more);
    properties.remove("default.api.timeout.ms");
    properties.put("max.block.ms", Long.toString(PATIENCE_MS));
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }

  /** Sends the records of a file and tells where each one went. */
  private static void produce(String bootstrap, String topic, String settings, Path file)
      throws Exception {
    try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, settings)) {
      tellPlaces(send(producer, topic, file));
    }
  }

  /** Sends batches of 16 records of 4 KiB of noise to every partition of a topic. */
  private static void fill(String bootstrap, String topic, int partitions, int batches) {
    byte[] noise = new byte[4 << 20];
    new Random(partitions).nextBytes(noise);
    Random random = new Random(batches);
    String plain = "enable.idempotence=false;batch.size=70000;linger.ms=50;acks=1";
    try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, plain)) {
      for (int batch = 0; batch < batches; batch++) {
        for (int partition = 0; partition < partitions; partition++) {
          for (int record = 0; record < 16; record++) {
            int from = random.nextInt(noise.length - 4096);
            byte[] value = Arrays.copyOfRange(noise, from, from + 4096);
            producer.send(new ProducerRecord<>(topic, partition, null, value));
          }
        }
      }
      producer.flush();
    }
  }

  private static List<Future<RecordMetadata>> send(
      KafkaProducer<byte[], byte[]> producer, String topic, Path file) throws IOException {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    for (String line : Files.readAllLines(file)) {
      sent.add(producer.send(parse(topic, line)));
    }
    producer.flush();
    return sent;
  }

  private static void tellPlaces(Collection<Future<RecordMetadata>> sent) throws Exception {
    for (Future<RecordMetadata> place : sent) {
      RecordMetadata metadata = place.get(PATIENCE_MS, TimeUnit.MILLISECONDS);
      tell(metadata.partition() + "\t" + metadata.offset());
    }
  }

  /** Partition or "-", timestamp or "-", key, value, headers. */
  private static ProducerRecord<byte[], byte[]> parse(String topic, String line) {
    String[] f = line.split("\t", -1);
    List<Header> headers = new ArrayList<>();
    for (String header : f[4].isEmpty() ? new String[0] : f[4].split(",")) {
      String[] parts = header.split("=", -1);
      headers.add(new RecordHeader(
          new String(unhex(parts[0]), StandardCharsets.UTF_8), unhex(parts[1])));
    }
    return new ProducerRecord<>(topic, f[0].equals("-") ? null : Integer.valueOf(f[0]),
        f[1].equals("-") ? null : Long.valueOf(f[1]), unhex(f[2]), unhex(f[3]), headers);
  }

  /** Sends the records of a file in a transaction that is then committed, aborted or left open. */
  private static void transact(
      String bootstrap, String topic, String settings, String end, Path file) throws Exception {
    KafkaProducer<byte[], byte[]> producer = producer(bootstrap, settings);
    try {
      producer.initTransactions();
      producer.beginTransaction();
      tellPlaces(send(producer, topic, file));
      switch (end) {
        case "commit" -> producer.commitTransaction();
        case "abort" -> producer.abortTransaction();
        default -> { }
      }
    } finally {
      producer.close(Duration.ZERO);
    }
  }

  private static Admin admin(String bootstrap) {
    return Admin.create(properties(bootstrap, ""));
  }

  private static void create(String bootstrap, String topic, int partitions, String settings)
      throws Exception {
    Map<String, String> configs = new HashMap<>();
    for (String setting : settings.split(";")) {
      String[] parts = setting.split("=", 2);
      configs.put(parts[0], parts[1]);
    }
    try (Admin admin = admin(bootstrap)) {
      NewTopic topicToMake = new NewTopic(topic, partitions, (short) 1).configs(configs);
      admin.createTopics(List.of(topicToMake)).all().get(PATIENCE_MS, TimeUnit.MILLISECONDS);
    }
  }

  /** Each topic with its id, its partitions, and the settings that it has of its own. */
  private static void topics(String bootstrap) throws Exception {
    try (Admin admin = admin(bootstrap)) {
      Collection<String> names = admin.listTopics().names().get(PATIENCE_MS, TimeUnit.MILLISECONDS);
      Map<String, TopicDescription> described =
          new TreeMap<>(admin.describeTopics(names).allTopicNames().get(PATIENCE_MS, TimeUnit.MILLISECONDS));
      for (TopicDescription topic : described.values()) {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic.name());
        Map<String, String> settings = new TreeMap<>();
        for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all()
            .get(PATIENCE_MS, TimeUnit.MILLISECONDS).get(resource).entries()) {
          if (entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG) {
            settings.put(entry.name(), entry.value());
          }
        }
        List<String> shown = new ArrayList<>();
        settings.forEach((name, value) -> shown.add(name + "=" + value));
        tell(topic.name() + "\t" + topic.topicId() + "\t" + topic.partitions().size() + "\t"
            + String.join(";", shown));
      }
    }
  }

  /** Gives every partition, also those of Kafka's own topics, to some nodes, and waits for them. */
  private static void replicate(String bootstrap, String nodes) throws Exception {
    List<Integer> wanted = Arrays.stream(nodes.split(",")).map(Integer::valueOf).toList();
    try (Admin admin = admin(bootstrap)) {
      Map<TopicPartition, Optional<NewPartitionReassignment>> moves = new HashMap<>();
      for (TopicDescription topic : all(admin)) {
        topic.partitions().forEach(partition ->
            moves.put(new TopicPartition(topic.name(), partition.partition()),
                Optional.of(new NewPartitionReassignment(wanted))));
      }
      admin.alterPartitionReassignments(moves).all().get(PATIENCE_MS, TimeUnit.MILLISECONDS);
      long until = System.currentTimeMillis() + 2 * PATIENCE_MS;
      while (!areAt(admin, wanted)) {
        if (System.currentTimeMillis() > until) {
          throw new IllegalStateException("not every partition is at " + nodes);
        }
        Thread.sleep(200);
      }
      tell(Integer.toString(moves.size()));
    }
  }

  private static boolean areAt(Admin admin, List<Integer> wanted) throws Exception {
    for (TopicDescription topic : all(admin)) {
      for (TopicPartitionInfo partition : topic.partitions()) {
        List<Integer> replicas = partition.replicas().stream().map(Node::id).sorted().toList();
        List<Integer> inSync = partition.isr().stream().map(Node::id).sorted().toList();
        if (!replicas.equals(wanted) || !inSync.equals(wanted) || partition.leader() == null) {
          return false;
        }
      }
    }
    return admin.listPartitionReassignments().reassignments()
        .get(PATIENCE_MS, TimeUnit.MILLISECONDS).isEmpty();
  }

  private static Collection<TopicDescription> all(Admin admin) throws Exception {
    Collection<String> names = admin.listTopics(new ListTopicsOptions().listInternal(true)).names()
        .get(PATIENCE_MS, TimeUnit.MILLISECONDS);
    return admin.describeTopics(names).allTopicNames()
        .get(PATIENCE_MS, TimeUnit.MILLISECONDS).values();
  }

  /** The nodes that vote on the metadata. */
  private static void voters(String bootstrap) throws Exception {
    try (Admin admin = admin(bootstrap)) {
      admin.describeMetadataQuorum().quorumInfo().get(PATIENCE_MS, TimeUnit.MILLISECONDS)
          .voters().forEach(voter -> tell(Integer.toString(voter.replicaId())));
    }
  }

  /** Gives a user a quota: something that only Kafka's metadata holds. */
  private static void quota(String bootstrap, String user, double rate) throws Exception {
    try (Admin admin = admin(bootstrap)) {
      ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, user));
      ClientQuotaAlteration.Op op = new ClientQuotaAlteration.Op("consumer_byte_rate", rate);
      admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(op))))
          .all().get(PATIENCE_MS, TimeUnit.MILLISECONDS);
    }
  }

  private static void quotas(String bootstrap) throws Exception {
    try (Admin admin = admin(bootstrap)) {
      admin.describeClientQuotas(ClientQuotaFilter.all()).entities()
          .get(PATIENCE_MS, TimeUnit.MILLISECONDS)
          .forEach((entity, rates) -> tell(entity.entries() + "\t" + rates));
    }
  }

  /** The committed offsets of a group. */
  private static void committed(String bootstrap, String group) throws Exception {
    try (Admin admin = admin(bootstrap)) {
      Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets(group)
          .partitionsToOffsetAndMetadata().get(PATIENCE_MS, TimeUnit.MILLISECONDS);
      Map<String, Long> sorted = new TreeMap<>();
      offsets.forEach((p, o) -> sorted.put(p.topic() + "\t" + p.partition(), o.offset()));
      sorted.forEach((partition, offset) -> tell(partition + "\t" + offset));
    }
  }

  private static void deleteRecords(String bootstrap, String topic, int partition, long before)
      throws Exception {
    try (Admin admin = admin(bootstrap)) {
      Map<TopicPartition, RecordsToDelete> wish =
          Map.of(new TopicPartition(topic, partition), RecordsToDelete.beforeOffset(before));
      admin.deleteRecords(wish).all().get(PATIENCE_MS, TimeUnit.MILLISECONDS);
    }
  }

  private static String hex(byte[] bytes) {
    if (bytes == null) {
      return "-";
    }
    StringBuilder digits = new StringBuilder("x");
    for (byte b : bytes) {
      digits.append(Character.forDigit((b >> 4) & 15, 16)).append(Character.forDigit(b & 15, 16));
    }
    return digits.toString();
  }

  private static byte[] unhex(String digits) {
    if (digits.equals("-")) {
      return null;
    }
    byte[] bytes = new byte[digits.length() / 2];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) Integer.parseInt(digits.substring(2 * i + 1, 2 * i + 3), 16);
    }
    return bytes;
  }

  private Driver() {}
}
