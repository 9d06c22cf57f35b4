package tidegate.flink;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.maxmind.db.Reader;
import com.maxmind.db.Reader.FileMode;
import java.io.File;
import java.io.IOException;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.shaded.guava33.com.google.common.net.InetAddresses;

/** Looks addresses up in a MaxMind database; remembers the answers. */
final class Geo {
  private static final int REMEMBERED = 1 << 16;

  private final ObjectMapper mapper = new ObjectMapper();
  private final Map<String, String> answers = new HashMap<>();
  private final Reader database;

  Geo(String path) throws IOException {
    database = new Reader(new File(path), FileMode.MEMORY);
  }

  /** The JSON of `geo`: an object, or `null`. */
  String json(String ip) throws IOException {
    if (ip == null) {
      return "null";
    }
    var known = answers.get(ip);
    if (known == null) {
      if (answers.size() > REMEMBERED) {
        answers.clear();
      }
      known = InetAddresses.isInetAddress(ip) ? lookUp(ip) : "null";
      answers.put(ip, known);
    }
    return known;
  }

  private String lookUp(String ip) throws IOException {
    var found = database.get(InetAddresses.forString(ip), Map.class);
    var geo = new LinkedHashMap<String, Object>();
    put(geo, "country", found, "country", "iso_code");
    put(geo, "city", found, "city", "names", "en");
    put(geo, "lat", found, "location", "latitude");
    put(geo, "lon", found, "location", "longitude");
    return geo.isEmpty() ? "null" : write(geo);
  }

  private String write(Map<String, Object> geo) throws JsonProcessingException {
    return mapper.writeValueAsString(geo);
  }

  /** Puts what is found along a path, if anything is. */
  private static void put(Map<String, Object> geo, String name, Object found, String... path) {
    for (var key : path) {
      found = found instanceof Map<?, ?> map ? map.get(key) : null;
    }
    if (found != null) {
      geo.put(name, found);
    }
  }
}
