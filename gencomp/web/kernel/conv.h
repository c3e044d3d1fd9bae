/* A 'same' convolution as a matrix product, for REAL = float or double; included twice by kernel.c.

   x [I, H, W], weights [ceil(O / 4), I k k, 4] (4 output channels side by side), out [O, H', W'], H' = ceil(H / stride).
   The inputs of NR positions at a time are laid out as panel [I k k, NR]; a tile of 4 channels x NR positions stays in
   registers while the product runs over I k k. What follows the sum is done on the way out:

       LINEAR    out = sum + bias
       LEAKY     out = lrelu(sum + bias), slope 0.01
       RESIDUAL  out = out + gain (sum + bias)
       INTEGER   out = clamp(floor(sum + bias), lo, hi)                                  */

#define NR (2 * LANES)
#define PANELS 4 /* position blocks that share one walk over the weights */

typedef REAL NAME(vec) __attribute__((vector_size(16), aligned(sizeof(REAL))));

/* The inputs of positions at .. at + NR - 1 of the output, zeros beyond the image's edges and beyond the last. */
static void NAME(gather)(REAL *panel, const REAL *x, int I, int H, int W, int k, int stride, int at, int outW, int N) {
  if (k == 1 && stride == 1 && at + NR <= N) {
    for (int c = 0; c < I; c++, x += H * W, panel += NR) {
      *(NAME(vec) *)panel = *(const NAME(vec) *)(x + at);
      *(NAME(vec) *)(panel + LANES) = *(const NAME(vec) *)(x + at + LANES);
    }
    return;
  }
  int pad = k / 2, row = at / outW, col = at % outW;
  int inside = at + NR <= N && stride == 1 && col + NR <= outW; /* one row, so that a tap is NR values in a row */
  for (int c = 0; c < I; c++, x += H * W)
    for (int dy = -pad; dy <= pad; dy++)
      for (int dx = -pad; dx <= pad; dx++, panel += NR) {
        if (inside && row + dy >= 0 && row + dy < H && col + dx >= 0 && col + dx + NR <= W) {
          const REAL *from = x + (row + dy) * W + col + dx;
          *(NAME(vec) *)panel = *(const NAME(vec) *)from;
          *(NAME(vec) *)(panel + LANES) = *(const NAME(vec) *)(from + LANES);
          continue;
        }
        int r = row, q = col;
        for (int j = 0; j < NR; j++) {
          int y = r * stride + dy, z = q * stride + dx;
          panel[j] = at + j < N && y >= 0 && y < H && z >= 0 && z < W ? x[y * W + z] : 0;
          if (++q == outW) q = 0, r++;
        }
      }
}

static inline void NAME(product)(NAME(vec) sum[4][2], const REAL *w, const REAL *panel, int K) {
  for (int i = 0; i < K; i++, w += 4, panel += NR) {
    NAME(vec) a = *(const NAME(vec) *)panel, b = *(const NAME(vec) *)(panel + LANES);
    for (int o = 0; o < 4; o++) sum[o][0] = ADDED(sum[o][0], a, w[o]), sum[o][1] = ADDED(sum[o][1], b, w[o]);
  }
}

static inline NAME(vec) NAME(finish)(NAME(vec) v, NAME(vec) before, int mode, REAL gain, REAL lo, REAL hi) {
  switch (mode) {
    case LEAKY: return SIMD(pmax)(v, v * (REAL)0.01);
    case RESIDUAL: return before + gain * v;
    case INTEGER:
      v = SIMD(pmax)(SIMD(floor)(v), SIMD(splat)(lo));
      return SIMD(pmin)(v, SIMD(splat)(hi));
    default: return v;
  }
}

/* `count` values of v, finished, to `to`, which may lie at the end of the memory. */
static inline void NAME(store)(REAL *to, NAME(vec) v, int count, int mode, REAL gain, REAL lo, REAL hi) {
  if (count >= LANES) {
    *(NAME(vec) *)to = NAME(finish)(v, *(NAME(vec) *)to, mode, gain, lo, hi);
    return;
  }
  NAME(vec) before = {0};
  for (int j = 0; j < count; j++) before[j] = to[j];
  v = NAME(finish)(v, before, mode, gain, lo, hi);
  for (int j = 0; j < count; j++) to[j] = v[j];
}

/* scratch: PANELS * I * k * k * NR values. gain [O] or 0. */
EXPORT void NAME(conv)(const REAL *x, const REAL *w, const REAL *bias, REAL *out, REAL *scratch, int I, int H, int W,
                       int O, int k, int stride, int mode, const REAL *gain, REAL lo, REAL hi) {
  int outH = (H + stride - 1) / stride, outW = (W + stride - 1) / stride, N = outH * outW, K = I * k * k;
  for (int at = 0; at < N; at += PANELS * NR) {
    int panels = (N - at + NR - 1) / NR;
    if (panels > PANELS) panels = PANELS;
    for (int p = 0; p < panels; p++) NAME(gather)(scratch + p * K * NR, x, I, H, W, k, stride, at + p * NR, outW, N);
    for (int o = 0; o < O; o += 4)
      for (int p = 0; p < panels; p++) {
        NAME(vec) sum[4][2] = {{{0}}};
        NAME(product)(sum, w + o * K, scratch + p * K * NR, K);
        int first = at + p * NR, count = N - first < NR ? N - first : NR, rows = O - o < 4 ? O - o : 4;
        for (int c = 0; c < rows; c++) {
          REAL *to = out + (o + c) * N + first, g = gain ? gain[o + c] : 0;
          NAME(store)(to, sum[c][0] + bias[o + c], count, mode, g, lo, hi);
          NAME(store)(to + LANES, sum[c][1] + bias[o + c], count - LANES, mode, g, lo, hi);
        }
      }
  }
}

/* Pixel shuffle by f: x [C f f, H, W] -> out [C, f H, f W]. */
EXPORT void NAME(shuffle)(const REAL *x, REAL *out, int C, int H, int W, int f) {
  for (int c = 0; c < C; c++)
    for (int i = 0; i < f; i++)
      for (int j = 0; j < f; j++)
        for (int r = 0; r < H; r++) {
          REAL *to = out + (c * f * H + r * f + i) * f * W + j;
          for (int q = 0; q < W; q++) to[q * f] = *x++;
        }
}

/* And back: x [C, H, W], f dividing H and W -> out [C f f, H / f, W / f]. */
EXPORT void NAME(unshuffle)(const REAL *x, REAL *out, int C, int H, int W, int f) {
  for (int c = 0; c < C; c++)
    for (int i = 0; i < f; i++)
      for (int j = 0; j < f; j++)
        for (int r = 0; r < H / f; r++)
          for (int q = 0; q < W / f; q++) *out++ = x[(c * H + r * f + i) * W + q * f + j];
}

#undef NR
#undef PANELS
