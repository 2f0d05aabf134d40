import { createHash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { Catalogue, Listed } from './catalogue.ts';

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}
ul{list-style:none;padding:0;display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr))}
li{border:1px solid #ccc;border-radius:.5rem;padding:1rem}h2{font-size:1.1rem;margin:0}p{margin:.25rem 0}
img{width:100%;height:auto;aspect-ratio:4/3;object-fit:cover;border-radius:.25rem}
.price{font-weight:600}.stock{color:#555;font-size:.9rem}`;

const styleHash = createHash('sha256').update(STYLE).digest('base64');

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
export const escaped = (text: string) => text.replace(/[&<>"']/g, (c) => ENTITIES[c] ?? c);

export const money = (cents: number) => `€${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;

const stockText = (stock: number) => (stock === 0 ? 'Sold out' : stock < 10 ? `${stock} left` : 'In stock');

const image = ({ name, picture }: Listed) =>
  picture
    ? `<img src="${escaped(picture)}" width="320" height="240" loading="lazy" alt="${escaped(name)}">`
    : '';

const item = (product: Listed) => `<li>${image(product)}<h2>${escaped(product.name)}</h2>
<p>${escaped(product.description)}</p><p class="price">${money(product.price)}</p>
<p class="stock">${stockText(product.stock)}</p></li>`;

export const renderPage = (products: Listed[]): string => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>TechShop</title><style>${STYLE}</style></head>
<body><h1>TechShop</h1><ul>${products.map(item).join('\n')}</ul>
<p>Order through the API: <code>POST /api/orders</code>.</p></body></html>
`;

export function pageRoute(app: FastifyInstance, { catalogue }: { catalogue: Pick<Catalogue, 'list'> }): void {
  app.get('/', async (_, reply) => {
    const { products } = await catalogue.list(100, 0);
    return reply
      .type('text/html; charset=utf-8')
      .header('cache-control', 'public, max-age=5')
      .header(
        'content-security-policy',
        `default-src 'none'; img-src 'self'; style-src 'sha256-${styleHash}'; frame-ancestors 'none'`,
      )
      .send(renderPage(products));
  });
}
