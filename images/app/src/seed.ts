import type { Product } from './mongo.ts';

const PLENTY = 1_000_000;

const product = (_id: string, name: string, description: string, price: number, stock = PLENTY): Product => ({
  _id,
  name,
  description,
  price,
  stock,
});

/** What a new shop sells. Prices are in cents. */
export const SEED: readonly Product[] = [
  product('backpack', 'Backpack', 'Holds a 16-inch laptop and a rain jacket.', 8_990),
  product('cable', 'USB-C cable', 'Two metres, 100 W.', 1_490),
  product('camera', 'Webcam', '1080p, with a shutter.', 5_995),
  product('charger', 'Charger', '65 W, three ports.', 3_990),
  product('dock', 'Dock', 'Two screens, network and power over one cable.', 18_900),
  product('headphones', 'Headphones', 'Over-ear, noise cancelling.', 19_950),
  product('keyboard', 'Keyboard', 'Mechanical, 75 %, hot-swappable switches.', 10_900),
  product('limited', 'Anniversary mug', 'Five were made.', 2_500, 5),
  product('monitor', 'Monitor', '27 inches, 4K.', 34_900),
  product('mouse', 'Mouse', 'Wireless, six buttons.', 4_500),
  product('notebook', 'Notebook', 'Paper. Never needs charging.', 650),
  product('stand', 'Laptop stand', 'Aluminium, folds flat.', 3_250),
];
