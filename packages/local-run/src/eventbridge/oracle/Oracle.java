import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import software.amazon.event.ruler.Machine;

/** Says what event-ruler says: one line {"pattern": text, "events": [text…]} in, one line {"matches": [bool…]} or {"error": text} out. */
public class Oracle {
  public static void main(String[] args) throws Exception {
    ObjectMapper json = new ObjectMapper();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonNode question = json.readTree(line);
      ObjectNode answer = json.createObjectNode();
      Machine machine = new Machine();
      try {
        machine.addRule("rule", question.get("pattern").asText());
      } catch (Exception | AssertionError e) {
        answer.put("error", String.valueOf(e.getMessage()));
      }
      if (!answer.has("error")) {
        ArrayNode matches = answer.putArray("matches");
        for (JsonNode event : question.get("events")) {
          matches.add(!machine.rulesForJSONEvent(event.asText()).isEmpty());
        }
      }
      out.println(answer);
    }
    out.flush();
  }
}
