package tidegate.flink;

import java.io.IOException;
import java.io.Serializable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;

/** The command line: `--name value` for each component. */
record Settings(
    String form,
    String kafka,
    String input,
    String processed,
    String alerts,
    String group,
    String geo,
    String bots,
    int parallelism,
    int checkpointMs,
    boolean bounded)
    implements Serializable {

  static Settings of(String[] args) {
    var given = new HashMap<String, String>();
    for (var i = 0; i + 1 < args.length; i += 2) {
      given.put(args[i].replaceFirst("^--", ""), args[i + 1]);
    }
    return new Settings(
        given.get("form"),
        given.get("kafka"),
        given.get("input"),
        given.get("processed"),
        given.get("alerts"),
        given.get("group"),
        given.get("geo"),
        given.get("bots"),
        Integer.parseInt(given.get("parallelism")),
        Integer.parseInt(given.get("checkpoint-ms")),
        Boolean.parseBoolean(given.get("bounded")));
  }

  Bots newBots() throws IOException {
    return new Bots(Files.readAllLines(Path.of(bots)));
  }

  Enricher newEnricher() throws IOException {
    return new Enricher(new Geo(geo));
  }
}
