package tidegate.flink;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.cfg.JsonNodeFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Sets `geo` in an event. */
final class Enricher {
  private static final byte[] NAME = ",\"geo\":".getBytes(StandardCharsets.US_ASCII);

  /** Numbers keep their digits. */
  private final ObjectMapper mapper =
      JsonMapper.builder()
          .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
          .disable(JsonNodeFeature.STRIP_TRAILING_BIGDECIMAL_ZEROES)
          .build();

  private final Geo geo;

  Enricher(Geo geo) {
    this.geo = geo;
  }

  /** Behind the last field, without a look at the others. */
  byte[] spliced(Event event) throws IOException {
    if (event.hasGeo) {
      return rewritten(event);
    }
    var json = geo.json(event.ip).getBytes(StandardCharsets.UTF_8);
    var value = event.value;
    var end = value.length;
    while (value[end - 1] != '}') {
      end--;
    }
    var out = Arrays.copyOf(value, end + NAME.length + json.length);
    System.arraycopy(NAME, 0, out, end - 1, NAME.length);
    System.arraycopy(json, 0, out, end - 1 + NAME.length, json.length);
    out[out.length - 1] = '}';
    return out;
  }

  /** By way of a tree. */
  byte[] rewritten(Event event) throws IOException {
    var tree = (ObjectNode) mapper.readTree(event.value);
    tree.set("geo", mapper.readTree(geo.json(event.ip)));
    return mapper.writeValueAsBytes(tree);
  }
}
