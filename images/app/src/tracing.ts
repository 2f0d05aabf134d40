import { tracingChannel } from 'node:diagnostics_channel';
import { context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { BatchSpanProcessor, type SpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { MongoClient } from 'mongodb';

const UNTRACED = new Set(['/health', '/ready', '/metrics']);
const tracer = trace.getTracer('techshop-app');

export type Tracing = {
  requests(app: FastifyInstance): void;
  mongo(client: MongoClient): void;
  stop(): Promise<void>;
};

/** Sends spans of requests, and of the commands they cause, to the address in OTEL_EXPORTER_OTLP_ENDPOINT. */
export function startTracing(
  processor: SpanProcessor = new BatchSpanProcessor({ exporter: new OTLPTraceExporter() }),
): Tracing {
  const resource = defaultResource()
    .merge(resourceFromAttributes({ 'service.name': 'techshop-app' }))
    .merge(detectResources({ detectors: [envDetector] }));
  const provider = new TracerProvider({ resource, spanProcessors: [processor] });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  traceCommands('redis', 'ioredis:command');
  traceCommands('s3', 'techshop:s3');
  return { requests: traceRequests, mongo: traceMongo, stop: () => provider.shutdown() };
}

function traceRequests(app: FastifyInstance): void {
  const spans = new WeakMap<FastifyRequest, Span>();
  app.addHook('onRequest', async (request, reply) => {
    const route = request.routeOptions.url;
    if (route && UNTRACED.has(route)) return;
    const span = tracer.startSpan(
      route ? `${request.method} ${route}` : request.method,
      {
        kind: SpanKind.SERVER,
        attributes: {
          'http.request.method': request.method,
          'url.path': request.url.split('?', 1)[0],
          ...(route && { 'http.route': route }),
        },
      },
      propagation.extract(context.active(), request.headers),
    );
    spans.set(request, span);
    const { traceId, spanId } = span.spanContext();
    request.log = reply.log = request.log.child({ trace_id: traceId, span_id: spanId });
  });
  // After the body is read: its events come from the connection, outside the request's context.
  app.addHook('preValidation', (request, _, done) => {
    const span = spans.get(request);
    if (span) context.with(trace.setSpan(context.active(), span), done);
    else done();
  });
  app.addHook('onResponse', async (request, reply) => {
    const span = spans.get(request);
    span?.setAttribute('http.response.status_code', reply.statusCode);
    if (reply.statusCode >= 500) span?.setStatus({ code: SpanStatusCode.ERROR });
    span?.end();
  });
}

/** A span for a command of a request; the shop's own pings have no request, and get none. */
function commandSpan(
  system: string,
  operation: string,
  attributes: Record<string, string>,
): Span | undefined {
  if (!trace.getActiveSpan()) return undefined;
  return tracer.startSpan(`${system} ${operation}`, {
    kind: SpanKind.CLIENT,
    attributes: { 'db.system.name': system, 'db.operation.name': operation, ...attributes },
  });
}

function endSpan(span: Span | undefined, error?: Error): void {
  if (error) span?.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
  span?.end();
}

function traceMongo(client: MongoClient): void {
  const spans = new Map<number, Span>();
  client.on('commandStarted', ({ requestId, commandName, command, databaseName }) => {
    const collection = command[commandName];
    const span = commandSpan('mongodb', commandName, {
      'db.namespace': databaseName,
      ...(typeof collection === 'string' && { 'db.collection.name': collection }),
    });
    if (span) spans.set(requestId, span);
  });
  const end = (requestId: number, error?: Error) => {
    endSpan(spans.get(requestId), error);
    spans.delete(requestId);
  };
  client.on('commandSucceeded', ({ requestId }) => end(requestId));
  client.on('commandFailed', ({ requestId, failure }) => end(requestId, failure));
}

function traceCommands(system: string, channel: string): void {
  type Message = { command: string; span?: Span | undefined; error?: Error };
  tracingChannel<Message, Message>(channel).subscribe({
    start: (message) => {
      message.span = commandSpan(system, message.command, {});
    },
    end: () => {},
    asyncStart: () => {},
    asyncEnd: (message) => endSpan(message.span, message.error),
    error: () => {},
  });
}
