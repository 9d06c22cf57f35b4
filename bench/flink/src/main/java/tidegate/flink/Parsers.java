package tidegate.flink;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;

/** Two ways to find in an event what the job looks at. */
final class Parsers {
  /** Fills in the fields that come from the event's JSON. */
  interface Parser {
    void parse(Event event) throws IOException;
  }

  private Parsers() {}

  /** Token by token, without building anything. */
  static final class Streaming implements Parser {
    private final JsonFactory json = new JsonFactory();

    @Override
    public void parse(Event event) throws IOException {
      event.time = event.timestamp;
      event.type = event.service = event.ip = event.userAgent = null;
      event.hasGeo = false;
      String service = null;
      String ip = null;
      String userAgent = null;
      try (var parser = json.createParser(event.value)) {
        parser.nextToken();
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
          var name = parser.currentName();
          var isObject = parser.nextToken() == JsonToken.START_OBJECT;
          switch (name) {
            case "event_type" -> event.type = parser.getText();
            case "timestamp" -> event.time = parser.getLongValue();
            case "service_name" -> service = parser.getValueAsString();
            case "ip" -> ip = parser.getValueAsString();
            case "user_agent" -> userAgent = parser.getValueAsString();
            case "geo" -> {
              event.hasGeo = true;
              parser.skipChildren();
            }
            case "payload" -> {
              if (isObject) {
                payload(event, parser);
              } else {
                parser.skipChildren();
              }
            }
            default -> parser.skipChildren();
          }
        }
      }
      event.service = service != null ? service : event.service != null ? event.service : "unknown";
      event.ip = ip != null ? ip : event.ip;
      event.userAgent = userAgent != null ? userAgent : event.userAgent;
    }

    private static void payload(Event event, JsonParser parser) throws IOException {
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        var name = parser.currentName();
        parser.nextToken();
        switch (name) {
          case "service_name" -> event.service = parser.getValueAsString();
          case "ip" -> event.ip = parser.getValueAsString();
          case "user_agent" -> event.userAgent = parser.getValueAsString();
          default -> parser.skipChildren();
        }
      }
    }
  }

  /** A tree of all that is in it. */
  static final class Tree implements Parser {
    private final ObjectMapper mapper = new ObjectMapper();

    @Override
    public void parse(Event event) throws IOException {
      var tree = mapper.readTree(event.value);
      event.type = tree.get("event_type").asText();
      event.time = tree.path("timestamp").asLong(event.timestamp);
      event.service = text(tree, "service_name", "unknown");
      event.ip = text(tree, "ip", null);
      event.userAgent = text(tree, "user_agent", null);
      event.hasGeo = tree.has("geo");
    }

    private static String text(JsonNode tree, String name, String absent) {
      var outer = tree.path(name).asText(null);
      return outer != null ? outer : tree.path("payload").path(name).asText(absent);
    }
  }
}
