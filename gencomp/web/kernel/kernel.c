/* The arithmetic of the page: what JavaScript is too slow for, or has no 64-bit integers for. No library, no state
   but the range coder's; memory is handed out by kernel.js.

   float    the transforms (as torch's to about 1e-5: the order of sums differs)
   double   the integer networks: every value is an integer times a power of two that float64 holds exactly, so that
            the order of sums changes nothing (entropy/intnet.py proves the bound, integers.js checks it)
   range    the range coder, word for word that of entropy/rangecoder.py */

#include <wasm_simd128.h>

#define EXPORT __attribute__((visibility("default")))
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

enum { LINEAR, LEAKY, RESIDUAL, INTEGER };

/* sum + v w. Relaxed SIMD has it in one instruction, rounded once or twice as the machine likes; doubles are exact. */
#ifdef __wasm_relaxed_simd__
#define ADDED(sum, v, w) SIMD(relaxed_madd)(v, SIMD(splat)(w), sum)
#else
#define ADDED(sum, v, w) sum + v * w
#endif

#define REAL float
#define LANES 4
#define NAME(x) x##_f32
#define SIMD(x) wasm_f32x4_##x
#include "conv.h"
#include "winograd.h"
#undef REAL
#undef LANES
#undef NAME
#undef SIMD

#define REAL double
#define LANES 2
#define NAME(x) x##_f64
#define SIMD(x) wasm_f64x2_##x
#include "conv.h"

/* The compiler makes calls of these for loops that clear or copy. */
void *memset(void *to, int value, unsigned long n) {
  for (u8 *p = to; n--;) *p++ = (u8)value;
  return to;
}

void *memcpy(void *to, const void *from, unsigned long n) {
  u8 *p = to;
  for (const u8 *q = from; n--;) *p++ = *q++;
  return to;
}

/* Depthwise integer layer: x [C, H, W], w [C, k, k], out [C, H, W] = clamp(floor(sum + bias), lo, hi). */
EXPORT void depthwise_f64(const double *x, const double *w, const double *bias, double *out, int C, int H, int W, int k,
                          double lo, double hi) {
  int pad = k / 2;
  for (int c = 0; c < C; c++, x += H * W, out += H * W, w += k * k)
    for (int r = 0; r < H; r++) {
      double *to = out + r * W;
      for (int q = 0; q < W; q++) to[q] = bias[c];
      for (int dy = -pad; dy <= pad; dy++) {
        if (r + dy < 0 || r + dy >= H) continue;
        const double *from = x + (r + dy) * W;
        for (int dx = -pad; dx <= pad; dx++) {
          double tap = w[(dy + pad) * k + dx + pad];
          int end = dx > 0 ? W - dx : W;
          for (int q = dx < 0 ? -dx : 0; q < end; q++) to[q] += tap * from[q + dx];
        }
      }
      for (int q = 0; q < W; q++) {
        double v = __builtin_floor(to[q]);
        to[q] = v < lo ? lo : v > hi ? hi : v;
      }
    }
}

static u32 mix(u32 x) {
  for (int i = 0; i < 2; i++) {
    x = (x ^ (x >> 16)) * 0x2C1B3C6Du;
    x = (x ^ (x >> 13)) + 0x9E3779B9u;
  }
  return x ^ (x >> 15);
}

/* x += realism (P noise) (1 + gate): networks/positional_noise.py. x, gate [C, f h, f w]; project [C, 4]; the noise of
   the 4 f f channels from `channel` on, of the latents at rows and columns from `top` and `left` on. */
EXPORT void grain_f32(float *x, const float *gate, const float *project, int C, int h, int w, int f, int channel,
                      int top, int left, float realism) {
  int H = h * f, W = w * f;
  for (int r = 0; r < H; r++) {
    u32 row = mix((u32)(top + r / f));
    for (int q = 0; q < W; q++) {
      u32 place = mix(row + (u32)(left + q / f));
      float noise[4];
      for (int n = 0; n < 4; n++) {
        u32 value = mix(place + (u32)(channel + n * f * f + (r % f) * f + q % f));
        noise[n] = (float)value / 4294967296.0f - 0.5f;
      }
      int at = r * W + q;
      for (int c = 0; c < C; c++) {
        const float *p = project + 4 * c;
        float drawn = p[0] * noise[0] + p[1] * noise[1] + p[2] * noise[2] + p[3] * noise[3];
        x[c * H * W + at] += realism * drawn * (1 + gate[c * H * W + at]);
      }
    }
  }
}

/* x += y, of n values. */
EXPORT void add_f32(float *x, const float *y, int n) {
  for (int i = 0; i < n; i++) x[i] += y[i];
}

/* x [3, H, W] about -0.5..0.5 -> the pixels of rows and columns from `top` and `left` on, height x width, into an RGBA
   image of `stride` pixels a row; clipped, and rounded half to even. */
EXPORT void to_rgba(const float *x, int H, int W, int top, int left, int height, int width, u8 *rgba, int stride) {
  for (int r = 0; r < height; r++)
    for (int q = 0; q < width; q++) {
      u8 *to = rgba + 4 * (r * stride + q);
      for (int c = 0; c < 3; c++) {
        float v = x[(c * H + top + r) * W + left + q] + 0.5f;
        v = v < 0 ? 0 : v > 1 ? 1 : v;
        to[c] = (u8)__builtin_rintf(v * 255);
      }
      to[3] = 255;
    }
}

/* An RGBA image height x width -> x [3, H, W] in -0.5..0.5, its last row and column repeated to H x W. */
EXPORT void from_rgba(const u8 *rgba, int height, int width, int stride, float *x, int H, int W) {
  for (int c = 0; c < 3; c++)
    for (int r = 0; r < H; r++)
      for (int q = 0; q < W; q++) {
        int y = r < height ? r : height - 1, z = q < width ? q : width - 1;
        *x++ = (float)rgba[4 * (y * stride + z) + c] / 255 - 0.5f;
      }
}

/* Range coder. The stream is bytes, big-endian words of 32 bits; `cumulative` runs from 0 to 2^24 over size + 1. Reading
   and writing have a state each, so that what is read can be written again. */

static u64 range, offset;
static const u8 *data;
static u32 position, length;

static u64 next_word(void) {
  u64 word = 0;
  for (int i = 0; i < 4; i++, position++) word = word << 8 | (position < length ? data[position] : 0);
  return word;
}

EXPORT void decoder_start(const u8 *bytes, u32 count) {
  data = bytes, length = count, position = 0, range = ~0ull;
  offset = next_word() << 32;
  offset |= next_word();
}

static void narrow(u64 left, u64 width) {
  offset -= left, range = width;
  if (width >> 32 == 0) range = width << 32, offset = offset << 32 | next_word();
}

/* Reads n symbols; returns how many could be read: fewer than n where no symbol fits. */
EXPORT int decode_symbols(const u32 *cumulative, int size, int *symbols, int n) {
  for (int i = 0; i < n; i++) {
    u64 scale = range >> 24, quantile = offset / scale;
    if (quantile >> 24) return i;
    int low = 0, high = size; /* cumulative[low] <= quantile < cumulative[high] */
    while (high - low > 1) {
      int middle = (low + high) / 2;
      if (cumulative[middle] <= quantile) low = middle; else high = middle;
    }
    symbols[i] = low;
    narrow(scale * cumulative[low], scale * (cumulative[low + 1] - cumulative[low]));
  }
  return n;
}

/* Reads n values, the i-th of counts[i] (1..24) equally likely bits. */
EXPORT int decode_bits(const int *counts, int *values, int n) {
  for (int i = 0; i < n; i++) {
    int shift = 24 - counts[i];
    u64 scale = range >> 24, value = (offset / scale) >> shift;
    if (value >> counts[i]) return i;
    values[i] = (int)value;
    narrow(scale * value << shift, scale << shift);
  }
  return n;
}

enum { SLACK = 256 }; /* bits that symbols may cost beyond the stream's length */

static u64 width, lower;
static u8 *out;
static u32 written;

EXPORT void encoder_start(u8 *bytes) { out = bytes, written = 0, lower = 0, width = ~0ull; }

/* One more in the number that stands in the bytes written so far. */
static void carry(void) {
  u32 at = written;
  while (++out[--at] == 0) {}
}

static void encode(u64 left, u64 weight) {
  u64 scale = width >> 24, before = lower;
  lower += scale * left;
  width = scale * weight;
  if (lower < before) carry();
  if (width >> 32 == 0) {
    for (int shift = 56; shift >= 32; shift -= 8) out[written++] = (u8)(lower >> shift);
    lower <<= 32, width <<= 32;
  }
}

/* 4 bytes a symbol must be free behind the bytes written; so they must for bits, and 8 at the end. */
EXPORT void encode_symbols(const u32 *cumulative, const int *symbols, int n) {
  for (int i = 0; i < n; i++) {
    u32 left = cumulative[symbols[i]];
    encode(left, cumulative[symbols[i] + 1] - left);
  }
}

EXPORT void encode_bits(const int *values, const int *counts, int n) {
  for (int i = 0; i < n; i++) {
    int shift = 24 - counts[i];
    encode((u64)values[i] << shift, 1ull << shift);
  }
}

EXPORT u32 encoder_bytes(void) { return written; }

/* lower, rounded up to a multiple of `unit`, a power of two; 0 where that is 2^64. */
static u64 rounded(u64 unit) { return (lower + (unit - 1)) & ~(unit - 1); }

/* Ends the stream with the roundest number in the interval [lower, lower + width), the bytes written before it; returns
   the length in bytes, without the zeros at the end, which a decoder reads anyway. Where that would be more than SLACK
   bits shorter than the symbols cost, a less round number is taken. */
EXPORT u32 encoder_finish(void) {
  u64 number = 0;
  int carries = lower && width > -lower; /* the next multiple of 2^64 is inside */
  if (lower && !carries) {
    for (int bits = 56; bits >= 0; bits -= 8) {
      number = rounded(1ull << bits);
      if (number >= lower && number - lower < width) break;
    }
  }
  if (!number) { /* all that follows the bytes written is zeros, and maybe more of them */
    u32 left = written;
    while (left && out[left - 1] == (carries ? 255 : 0)) left--;
    int size = 64 - __builtin_clzll(width);
    if (8ull * left + SLACK < 8ull * written + 64 - size) {
      int zeros = (size - 2) & -8; /* two multiples of 2^zeros lie in the interval */
      number = rounded(1ull << zeros);
      carries = lower && !number;
      if ((number >> zeros & 255) == 0) number += 1ull << zeros;
    }
  }
  if (carries) carry();
  for (int shift = 56; shift >= 0; shift -= 8) out[written++] = (u8)(number >> shift);
  while (written && out[written - 1] == 0) written--;
  return written;
}
