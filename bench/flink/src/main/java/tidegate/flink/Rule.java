package tidegate.flink;

import java.time.Duration;

/** The one rule of the default configuration, and what it knows of time. */
final class Rule {
  static final String NAME = "high-error-rate";
  static final String EVENT_TYPE = "error";
  static final Duration WINDOW = Duration.ofSeconds(60);
  static final long THRESHOLD = 50;
  static final Duration MAX_DISORDER = Duration.ofSeconds(5);

  private Rule() {}
}
