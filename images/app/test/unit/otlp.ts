import http from 'node:http';
import type { AddressInfo } from 'node:net';

type Value = { stringValue?: string; intValue?: number; doubleValue?: number };
type Sent = {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  status?: { code?: number; message?: string };
  attributes: { key: string; value: Value }[];
};
export type ReceivedSpan = Omit<Sent, 'attributes'> & { attributes: Record<string, unknown> };

/** Takes traces as Jaeger does, over OTLP and HTTP, and keeps them; `answer` decides what becomes of a request. */
export async function otlpReceiver(answer: (response: http.ServerResponse) => void = (r) => r.end('{}')) {
  const spans: ReceivedSpan[] = [];
  const resources: Record<string, unknown>[] = [];
  const bodies: string[] = [];
  const map = (list: Sent['attributes']) =>
    Object.fromEntries(
      list.map(({ key, value }) => [key, value.stringValue ?? value.intValue ?? value.doubleValue]),
    );
  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const part of request.setEncoding('utf8')) body += part;
    bodies.push(body);
    for (const { resource, scopeSpans } of JSON.parse(body).resourceSpans) {
      resources.push(map(resource.attributes));
      for (const scope of scopeSpans)
        spans.push(...scope.spans.map((span: Sent) => ({ ...span, attributes: map(span.attributes) })));
    }
    answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { endpoint, spans, resources, bodies, close };
}
