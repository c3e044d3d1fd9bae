/* A 3x3 'same' convolution of stride 1 in float32 by Winograd's F(2x2, 3x3) (Lavin and Gray 2016, arXiv:1509.09308):
   2x2 outputs at a time from 4x4 inputs, with 16 products where 36 would be,

       Y = A^T [ (G g G^T) . (B^T d B) ] A

   x [I, H, W]; u, the transformed weights (kernel.js), [16, ceil(O / 4), I, 4]; out [O, H, W]; modes as in conv.h. For
   each of the 16 the sum over I is the matrix product of conv.h, over TILES tiles side by side. */

#define TILES 16 /* a multiple of 8: what lies in panels of 8 */
#define SPAN (2 * TILES + 2)

typedef vec_f32 f32x4;

static inline f32x4 load(const float *p) { return *(const f32x4 *)p; }
static inline f32x4 evens(f32x4 a, f32x4 b) { return __builtin_shufflevector(a, b, 0, 2, 4, 6); }
static inline f32x4 odds(f32x4 a, f32x4 b) { return __builtin_shufflevector(a, b, 1, 3, 5, 7); }

/* B^T d B of the tiles at columns from `col` on, of four rows `step` values apart, for one channel: into panels
   [16, TILES / 8, I, 8], of which v is the channel's place. */
static void inputs(const float *rows, int step, float *v, int I) {
  for (int t = 0; t < TILES; t += 4) {
    f32x4 d[4][4];
    for (int r = 0; r < 4; r++) {
      const float *p = rows + r * step + 2 * t;
      f32x4 a = load(p), b = load(p + 4), c = load(p + 2), e = load(p + 6);
      f32x4 d0 = evens(a, b), d1 = odds(a, b), d2 = evens(c, e), d3 = odds(c, e);
      d[r][0] = d0 - d2, d[r][1] = d1 + d2, d[r][2] = d2 - d1, d[r][3] = d1 - d3;
    }
    float *to = v + (t / 8) * I * 8 + t % 8;
    int plane = TILES * I;
    for (int c = 0; c < 4; c++) {
      *(f32x4 *)(to + c * plane) = d[0][c] - d[2][c];
      *(f32x4 *)(to + (4 + c) * plane) = d[1][c] + d[2][c];
      *(f32x4 *)(to + (8 + c) * plane) = d[2][c] - d[1][c];
      *(f32x4 *)(to + (12 + c) * plane) = d[1][c] - d[3][c];
    }
  }
}

/* A^T m A of one output channel, m [16, TILES], with what follows the sum: rows of 2 TILES into out. */
static void outputs(const float *m, float *out, int H, int W, int row, int col, int mode, float bias, float gain) {
  for (int t = 0; t < TILES && col + 2 * t < W; t += 4) {
    f32x4 s[2][4];
    for (int c = 0; c < 4; c++) {
      f32x4 m0 = load(m + c * TILES + t), m1 = load(m + (4 + c) * TILES + t);
      f32x4 m2 = load(m + (8 + c) * TILES + t), m3 = load(m + (12 + c) * TILES + t);
      s[0][c] = m0 + m1 + m2, s[1][c] = m1 - m2 - m3;
    }
    for (int r = 0; r < 2 && row + r < H; r++) {
      f32x4 a = s[r][0] + s[r][1] + s[r][2] + bias, b = s[r][1] - s[r][2] - s[r][3] + bias;
      float *to = out + (row + r) * W + col + 2 * t;
      int count = W - col - 2 * t;
      store_f32(to, __builtin_shufflevector(a, b, 0, 4, 1, 5), count, mode, gain, 0, 0);
      store_f32(to + 4, __builtin_shufflevector(a, b, 2, 6, 3, 7), count - 4, mode, gain, 0, 0);
    }
  }
}

/* scratch: 16 TILES (I + 4 ceil(O / 4)) values. gain [O] or 0. */
EXPORT void conv3_f32(const float *x, const float *u, const float *bias, float *out, float *scratch, int I, int H, int W,
                      int O, int mode, const float *gain) {
  float *v = scratch, *m = scratch + 16 * TILES * I, edge[4 * SPAN];
  int blocks = (O + 3) / 4;
  for (int row = 0; row < H; row += 2)
    for (int col = 0; col < W; col += 2 * TILES) {
      int inside = row > 0 && row + 3 <= H && col > 0 && col - 1 + SPAN <= W;
      for (int i = 0; i < I; i++) {
        const float *from = x + i * H * W;
        if (inside) {
          inputs(from + (row - 1) * W + col - 1, W, v + 8 * i, I);
          continue;
        }
        for (int r = 0; r < 4; r++)
          for (int q = 0; q < SPAN; q++) {
            int y = row + r - 1, z = col + q - 1;
            edge[r * SPAN + q] = y >= 0 && y < H && z >= 0 && z < W ? from[y * W + z] : 0;
          }
        inputs(edge, SPAN, v + 8 * i, I);
      }
      for (int k = 0; k < 16; k++)
        for (int b = 0; b < blocks; b++)
          for (int p = 0; p < TILES / 8; p++) {
            vec_f32 sum[4][2] = {{{0}}};
            product_f32(sum, u + (k * blocks + b) * 4 * I, v + (k * TILES + 8 * p) * I, I);
            for (int o = 0; o < 4; o++)
              for (int h = 0; h < 2; h++)
                *(f32x4 *)(m + ((4 * b + o) * 16 + k) * TILES + 8 * p + 4 * h) = sum[o][h];
          }
      for (int o = 0; o < O; o++)
        outputs(m + o * 16 * TILES, out + o * H * W, H, W, row, col, mode, bias[o], gain ? gain[o] : 0);
    }
}
