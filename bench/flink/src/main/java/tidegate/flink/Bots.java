package tidegate.flink;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** Tells bots by their user agent; remembers the verdicts, for matching is dear and user agents come again. */
final class Bots {
  private static final int REMEMBERED = 4096;

  private final Pattern any;
  private final Map<String, Boolean> verdicts = new HashMap<>();

  /** Regular expressions, one a line; `#` begins a comment and `[` a category. */
  Bots(List<String> lines) {
    var patterns = lines.stream().map(String::strip).filter(line -> !line.isEmpty() && "#[".indexOf(line.charAt(0)) < 0);
    any = Pattern.compile(String.join("|", patterns.toList()), Pattern.CASE_INSENSITIVE);
  }

  boolean isBot(String userAgent) {
    if (userAgent == null) {
      return false;
    }
    if (verdicts.size() > REMEMBERED) {
      verdicts.clear();
    }
    return verdicts.computeIfAbsent(userAgent, agent -> any.matcher(agent).find());
  }
}
