package tidegate.flink;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Tells bots by their user agent; remembers the verdicts, for matching is dear and user agents come again. */
final class Bots {
  private static final int REMEMBERED = 4096;

  private final Pattern any;
  private final Pattern exceptions;
  private final Map<String, Boolean> verdicts = new HashMap<>();

  /** Regular expressions, one a line; those behind `!` tell what is no bot. */
  Bots(List<String> lines) {
    any = anyOf(lines.stream().filter(line -> !line.startsWith("!")));
    exceptions = anyOf(lines.stream().filter(line -> line.startsWith("!")).map(line -> line.substring(1)));
  }

  private static Pattern anyOf(Stream<String> patterns) {
    return Pattern.compile(patterns.collect(Collectors.joining("|")), Pattern.CASE_INSENSITIVE);
  }

  boolean isBot(String userAgent) {
    if (userAgent == null) {
      return false;
    }
    if (verdicts.size() > REMEMBERED) {
      verdicts.clear();
    }
    return verdicts.computeIfAbsent(userAgent, this::matches);
  }

  private boolean matches(String agent) {
    return any.matcher(agent).find() && !exceptions.matcher(agent).find();
  }
}
