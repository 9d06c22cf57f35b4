package tidegate.flink;

/** A record of the input and what the job looks at in it; public and mutable for Flink's serialiser of plain classes. */
public class Event {
  public byte[] key;
  public byte[] value;
  public int partition;

  /** Kafka's, in ms since the epoch. */
  public long timestamp;

  /** The event's own, in ms since the epoch. */
  public long time;

  public String type;
  public String service;
  public String ip;
  public String userAgent;

  /** The event brings a key that the job sets. */
  public boolean hasGeo;
}
