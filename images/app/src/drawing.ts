import { escaped } from './page.ts';
import { sha256 } from './s3.ts';

const WIDTH = 640;
const HEIGHT = 480;

// XML can't hold these, not even escaped.
const FORBIDDEN = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

/** The name on a ground whose colour it decides, as SVG: the same name is the same picture, to the byte. */
export function drawing(name: string): string {
  const text = name.replace(FORBIDDEN, '');
  const hue = Number.parseInt(sha256(text).slice(0, 4), 16) % 360;
  const size = Math.min(72, Math.floor(WIDTH / (text.length + 1)));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}">
<rect width="100%" height="100%" fill="hsl(${hue},45%,35%)"/>
<text x="50%" y="50%" fill="#fff" font-family="system-ui,sans-serif" font-size="${size}" text-anchor="middle" dominant-baseline="middle">${escaped(text)}</text>
</svg>
`;
}
