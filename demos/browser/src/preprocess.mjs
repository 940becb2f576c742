// From the pixels of an image to what the network sees: the steps of
// eca-keras, and of demos/phone/classify.py. A canvas would resize without
// antialiasing, which costs accuracy.

const KERNELS = {
  bilinear: (x) => Math.max(0, 1 - x),
  bicubic: (x) => {
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  },
};
const REACH = { bilinear: 1, bicubic: 2 };

// Halves go to the even neighbour, as in Python.
export function roundHalfEven(x) {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

function toByte(x) {
  return roundHalfEven(Math.min(255, Math.max(0, x)));
}

// For each of `size` pixels: the first pixel of `old` that counts, and the
// weights from there on. A smaller image has a wider kernel: antialiasing.
function windows(old, size, interpolation) {
  const scale = old / size;
  const wide = Math.max(scale, 1);
  const reach = REACH[interpolation] * wide;
  const result = [];
  for (let i = 0; i < size; i++) {
    const centre = (i + 0.5) * scale - 0.5;
    const first = Math.max(0, Math.ceil(centre - reach));
    const last = Math.min(old - 1, Math.floor(centre + reach));
    const weights = [];
    let sum = 0;
    for (let j = first; j <= last; j++) {
      weights.push(KERNELS[interpolation](Math.abs(j - centre) / wide));
      sum += weights.at(-1);
    }
    result.push({ first, weights: weights.map((w) => w / sum) });
  }
  return result;
}

// Resizes along one axis. `image.data` holds floats in rows of pixels.
function resizeAxis(image, size, interpolation, vertical) {
  const { data, width, height, channels } = image;
  const step = (vertical ? width : 1) * channels;
  const others = vertical ? width : height;
  const otherStep = (vertical ? 1 : width) * channels;
  const newWidth = vertical ? width : size;
  const newStep = (vertical ? newWidth : 1) * channels;
  const newOtherStep = (vertical ? 1 : newWidth) * channels;
  const result = new Float32Array(size * others * channels);
  const all = windows(vertical ? height : width, size, interpolation);
  all.forEach(({ first, weights }, i) => {
    for (let other = 0; other < others; other++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        let from = first * step + other * otherStep + c;
        for (const weight of weights) {
          sum += weight * data[from];
          from += step;
        }
        result[i * newStep + other * newOtherStep + c] = sum;
      }
    }
  });
  const newHeight = vertical ? size : height;
  return { data: result, width: newWidth, height: newHeight, channels };
}

function resize(image, width, height, interpolation) {
  // Rounded after each direction, as Pillow does it.
  for (const [vertical, side] of [[false, width], [true, height]]) {
    image = resizeAxis(image, side, interpolation, vertical);
    image = { ...image, data: image.data.map(toByte) };
  }
  return image;
}

// From a canvas's red, green, blue and opacity.
function fromRgba({ data, width, height }, channels) {
  const result = new Float32Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = data.subarray(4 * i, 4 * i + 3);
    if (channels === 1) {
      // Pillow's luma, in 65,536ths.
      result[i] = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16;
    } else {
      result.set([r, g, b], 3 * i);
    }
  }
  return { data: result, width, height, channels };
}

// Returns a Float32Array of size * size * channels values.
// pixels: ImageData. settings: `preprocessing` of model.onnx.json.
export function preprocess(pixels, settings) {
  const { image_size: size, channels, mean, std } = settings;
  let image = fromRgba(pixels, channels);
  const short = roundHalfEven(size / settings.crop_fraction);
  const smaller = Math.min(image.width, image.height);
  const width = Math.floor((short * image.width) / smaller);
  const height = Math.floor((short * image.height) / smaller);
  image = resize(image, width, height, settings.interpolation);
  const top = roundHalfEven((height - size) / 2);
  const left = roundHalfEven((width - size) / 2);
  const result = new Float32Array(size * size * channels);
  for (let y = 0; y < size; y++) {
    const start = ((top + y) * width + left) * channels;
    const row = image.data.subarray(start, start + size * channels);
    result.set(row, y * size * channels);
  }
  if (!mean) return result;
  return result.map((value, i) => {
    return (value / 255 - mean[i % channels]) / std[i % channels];
  });
}
