import { tracingChannel } from 'node:diagnostics_channel';
import { hostname } from 'node:os';
import {
  type Attributes,
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { ExportResultCode, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { MongoClient } from 'mongodb';
import { reason } from './errors.ts';
import type { Log } from './log.ts';
import type { S3Request } from './s3.ts';
import { within } from './time.ts';

const UNTRACED = new Set(['/health', '/ready', '/metrics']);
// Those that the conventions know: what a client makes up must not make new names.
const METHODS = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE']);
// A part of a path that can't be somebody's address, nor as long as a token.
const PLAIN = /^[\w.-]{0,80}$/;
// What isn't sent within this time is dropped, at the pod's end as well.
const SEND_MS = 5_000;
const STOP_MS = 3_000;

const tracer = trace.getTracer('techshop-app');

export type Tracing = {
  requests(app: FastifyInstance): void;
  mongo(client: MongoClient): void;
  stop(): Promise<void>;
};

/**
 * Sends spans of requests, and of the commands they cause, to the address in OTEL_EXPORTER_OTLP_ENDPOINT. Names and
 * attributes are OpenTelemetry's semantic conventions. Nobody waits for it: up to 2048 spans do, and more are dropped.
 */
export function startTracing(log: Log, ratio: number): Tracing {
  const resource = defaultResource()
    .merge(resourceFromAttributes({ 'service.name': 'techshop-app', 'service.instance.id': hostname() }))
    .merge(detectResources({ detectors: [envDetector] }));
  const processor = new BatchSpanProcessor({
    exporter: telling(new OTLPTraceExporter({ timeoutMillis: SEND_MS }), log),
    maxQueueSize: 2_048,
    scheduledDelayMillis: 2_000,
    exportTimeoutMillis: SEND_MS + 1_000,
  });
  const provider = new TracerProvider({
    resource,
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
    spanLimits: { attributeValueLengthLimit: 256, attributeCountLimit: 32 },
    spanProcessors: [processor],
  });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  traceRedis();
  traceS3();
  return {
    requests: traceRequests,
    mongo: traceMongo,
    stop: () => within(STOP_MS, provider.shutdown()).catch(() => {}),
  };
}

/** Logs one line when spans are no longer taken, and one when they are again. */
function telling(exporter: SpanExporter, log: Log): SpanExporter {
  let taken = true;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const before = taken;
        taken = result.code === ExportResultCode.SUCCESS;
        if (before && !taken)
          log.warn({ reason: reason(result.error) }, 'Traces are not taken; the shop goes on without.');
        if (taken && !before) log.info('Traces are taken again.');
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
  };
}

function traceRequests(app: FastifyInstance): void {
  const spans = new WeakMap<FastifyRequest, Span>();
  app.addHook('onRequest', async (request, reply) => {
    const route = request.routeOptions.url;
    if (route && UNTRACED.has(route)) return;
    const known = METHODS.has(request.method);
    const span = tracer.startSpan(
      [known ? request.method : 'HTTP', ...(route ? [route] : [])].join(' '),
      {
        kind: SpanKind.SERVER,
        attributes: {
          'http.request.method': known ? request.method : '_OTHER',
          'url.path': plain(request.url.split('?', 1)[0] ?? ''),
          'url.scheme': request.protocol === 'https' ? 'https' : 'http',
          'network.protocol.version': request.raw.httpVersion,
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
    const status = reply.statusCode;
    endSpan(spans.get(request), { 'http.response.status_code': status }, status >= 500 && String(status));
  });
}

/** A path without what may be an e-mail address or a token. */
function plain(path: string): string {
  const parts = path.split('/', 16);
  return parts.map((part) => (PLAIN.test(part) ? part : 'REDACTED')).join('/');
}

/** A span for what a request asks of a store; the shop's own pings have no request, and get none. */
function clientSpan(name: string, attributes: Attributes): Span | undefined {
  if (!trace.getActiveSpan()) return undefined;
  return tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes });
}

/** Ends a span, as failed if there is a kind of error. Never with the error's text, which may hold anything. */
function endSpan(span: Span | undefined, attributes: Attributes, error: string | false): void {
  span?.setAttributes({ ...attributes, ...(error && { 'error.type': error }) });
  if (error) span?.setStatus({ code: SpanStatusCode.ERROR });
  span?.end();
}

/** What kind of error it is: the code of a server or of the system, or the class. */
const kindOf = (error: Error & { code?: unknown }) => String(error.code ?? error.name);

function traceMongo(client: MongoClient): void {
  const spans = new Map<number, Span>();
  client.on('commandStarted', ({ requestId, commandName, command, databaseName, address }) => {
    const collection = command[commandName === 'getMore' ? 'collection' : commandName];
    const named = typeof collection === 'string' && collection;
    const port = address.lastIndexOf(':');
    const span = clientSpan(`${commandName} ${named || databaseName}`, {
      'db.system.name': 'mongodb',
      'db.operation.name': commandName,
      'db.namespace': databaseName,
      ...(named && { 'db.collection.name': named }),
      'server.address': address.slice(0, port),
      'server.port': Number(address.slice(port + 1)),
    });
    if (span) spans.set(requestId, span);
  });
  const end = (requestId: number, failure?: Error & { code?: unknown }) => {
    const code = typeof failure?.code === 'number' && { 'db.response.status_code': String(failure.code) };
    endSpan(spans.get(requestId), { ...code }, failure ? kindOf(failure) : false);
    spans.delete(requestId);
  };
  client.on('commandSucceeded', ({ requestId }) => end(requestId));
  client.on('commandFailed', ({ requestId, failure }) => end(requestId, failure));
}

type Traced<T> = T & { span?: Span | undefined; error?: Error };

/** Makes a span of what goes through a channel of node's. */
function traceChannel<T extends object>(
  name: string,
  start: (message: T) => Span | undefined,
  end: (message: Traced<T>) => void,
): void {
  tracingChannel<Traced<T>, Traced<T>>(name).subscribe({
    start: (message) => {
      message.span = start(message);
    },
    end: () => {},
    asyncStart: () => {},
    asyncEnd: end,
    error: () => {},
  });
}

function traceRedis(): void {
  type Command = { command: string; database: number; serverAddress: string; serverPort?: number };
  traceChannel<Command>(
    'ioredis:command',
    ({ command, database, serverAddress, serverPort }) =>
      clientSpan(command, {
        'db.system.name': 'redis',
        'db.operation.name': command,
        'db.namespace': String(database),
        'server.address': serverAddress,
        'server.port': serverPort,
      }),
    ({ span, error }) => {
      // Redis' own errors begin with their kind: WRONGTYPE, CLUSTERDOWN, ...
      const prefix = /^[A-Z]{2,32}(?= )/.exec(error?.message ?? '')?.[0];
      endSpan(
        span,
        prefix ? { 'db.response.status_code': prefix } : {},
        prefix ?? (error ? kindOf(error) : false),
      );
    },
  );
}

function traceS3(): void {
  traceChannel<S3Request & { result?: { statusCode?: number } }>(
    'techshop:s3',
    ({ method, url, bucket, template }) =>
      clientSpan(`${method} ${template}`, {
        'http.request.method': method,
        'url.full': url.href,
        'url.template': template,
        'server.address': url.hostname,
        'server.port': Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
        'aws.s3.bucket': bucket,
      }),
    ({ span, error, result }) => {
      const code = (error as { code?: unknown } | undefined)?.code ?? result?.statusCode;
      const status = typeof code === 'number' && { 'http.response.status_code': code };
      endSpan(span, { ...status }, error ? kindOf(error) : false);
    },
  );
}
