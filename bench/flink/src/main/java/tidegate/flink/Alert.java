package tidegate.flink;

/** Too many errors of a service in a window. */
public class Alert {
  public String service;
  public long windowStart;
  public long count;

  public Alert() {}

  public Alert(String service, long windowStart, long count) {
    this.service = service;
    this.windowStart = windowStart;
    this.count = count;
  }
}
