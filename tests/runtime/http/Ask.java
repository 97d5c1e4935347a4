import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** Asks by the JDK's client as it is: `java Ask.java METHOD URL KIND BODY ...`, KIND being none, sized or chunked. */
public class Ask {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 0; i < arguments.length; i += 4) {
            byte[] body = arguments[i + 3].getBytes(StandardCharsets.UTF_8);
            BodyPublisher publisher = switch (arguments[i + 2]) {
                case "none" -> BodyPublishers.noBody();
                case "sized" -> BodyPublishers.ofByteArray(body);
                default -> BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body));
            };
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[i + 1]))
                .timeout(Duration.ofSeconds(20))
                .method(arguments[i], publisher)
                .build();
            var response = client.send(request, BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.version() + " " + response.body());
        }
    }
}
