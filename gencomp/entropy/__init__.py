"""Entropy coding on integers alone, so that a file decodes to the same latents everywhere. Needs numpy alone.

`KINDS`: how a model of each kind is made from the arrays of a model file. To add one, see `contract.py`.

This text specifies the payload of a .gnc file (`gencomp/bitstream.py` specifies the rest): with the arrays of a model
file, it is all that a decoder needs. M latent channels of h rows and w columns, Z hyper-latent channels of h' and w'.
h and w are the image's height and width divided by the model's stride (16, unless its file says 32 or 64), rounded up.
// is division rounded down, >> a shift that keeps the sign, ^ exclusive or. The order "channel by channel" is: channel
0 first; in a channel row 0 first; in a row column 0 first.


1. The range coder

The payload is a number N, most significant byte first, with as many zero bytes behind it as are asked for. A decoder
holds an offset and a range, unsigned integers of 64 bits. It begins with range = 2^64 - 1 and offset = the first 8
bytes. A symbol has a table of integer weights v_0 .. v_(n-1), each at least 1, of sum 2^24. To read it:

    scale  = range >> 24
    number = offset // scale                     2^24 or more: the payload is damaged
    s      = the symbol with c_s <= number < c_s + v_s, where c_s = v_0 + .. + v_(s-1)
    offset = offset - scale c_s
    range  = scale v_s
    if range < 2^32: range = range 2^32, offset = offset 2^32 + the next 4 bytes

A number of k equally likely bits, k = 1 .. 24, is read like a symbol of 2^k weights of 2^(24-k). Nothing is read for
k = 0. Tables of a model have weights of sum 2^16; v is 256 times the weight.

An encoder holds the interval [low, low + range) of all N that decode to its symbols, from low = 0 and range = 2^64 - 1;
a symbol makes it low + scale c_s and scale v_s; both are multiplied by 2^32 where the decoder reads 4 bytes. At the
end low has 8 + 4 r bytes, r the number of such times. N is the multiple of 2^b, at least low and below low + range,
with the largest b of 64, 56, .. 0 for which there is one; the payload is N's 8 + 4 r bytes without the zero bytes at
their end. If it has more than 256 bits less than 64 + 32 r - l - 1, where range has l + 1 bits, then instead: b is l -
1 rounded down to a multiple of 8, N the first multiple of 2^b at or above low, or the second if the first is a
multiple of 2^(b + 8).

So a payload never ends in a zero byte, and the symbols never cost (the sum of -log2 of weight / 2^16, and of the bits)
more than its length and 256 bits: a decoder refuses the one, and stops where the other happens. It refuses a payload
that is not what an encoder writes for the symbols read.


2. Residuals

A list of residuals r, |r| <= 30000, each with a level i, is written level by level: level 0 first, within a level in
the order of the list. Level i has a table of 2 L_i + 2 weights: the symbol r + L_i for |r| <= L_i, and 2 L_i + 1, the
escape, for every other. After the last level, for the escaped residuals in the order in which their escapes came: first
the class k of each (0 .. 16, by the table of classes), then the low k bits of each, where

    o = 2 (r - L_i - 1) if r > 0, else 2 (-L_i - 1 - r) + 1;   k = floor(log2(o + 1));   low bits = o + 1 - 2^k

An escaped residual beyond 30000 is damage.


3. Kinds "context" and "hyperprior"

One stream, in this order.

a) Hyper-latents z, channel by channel, each channel by its own table: 2 K_c + 1 weights, the symbol is z + K_c. h' and
   w' are h and w divided by the hyper-stride, rounded up; the hyper-stride is the product of the pixel shuffles of the
   network `synthesis` (4 in all models so far).

b) The network `synthesis` (section 6) takes Z channels 16 z, and, if it has 9 inputs more, 9 planes, constant over the
   image, of the quality weights max(0, 128 - |quality_step - 128 k|), k = 0 .. 8. The first h rows and w columns of its
   output are the features, F channels.

c) Passes p = 0 .. 3 of the kind "context", p = 0 of the kind "hyperprior". The network `context<p>` takes the features
   and, but for p = 0, M channels y_int, 0 where it is not yet known. Its 2 M outputs are the M means m and the M raw
   levels. A hyperprior may have no context network: then the features are its 2 M outputs. The level of a raw level t
   is t clamped to 0 .. 63, or, if the model has the array `thresholds`, the number of its 63 entries at or below t.

   Pass p of four codes the latents whose channel group g = channel // (M / 4) is k ^ (0, 3, 1, 2)[p], where k = 2 (row
   mod 2) + (column mod 2); the only pass of a hyperprior codes all. Their residuals form one list, channel by channel
   (channels of group 0 first, at the positions that code group 0), as in section 2. Then y_int = 64 r + m for them.

y_int is the result; y_hat = y_int / 64. An encoder takes r = round(y - m / 64), half to even, limited to 30000.


4. Kind "factorized"

The list of residuals of all latents, channel by channel, the channel's number c for the level; y_int = 64 r +
centres[c].

If `centres` has two dimensions, [S, M] with S at least 2, there are S sets of M tables, set 0 first. A file uses the
set s = (quality_step (S - 1) + 512) // 1024 alone: the table of level c is the one numbered s M + c, its centre
centres[s, c].


5. Kind "hybrid"

Channels 0 .. 11 are three planes of 2 h rows and 2 w columns of bytes p: y_int = p - 128 of plane c // 4, row 2 row +
(c // 2) mod 2, column 2 column + c mod 2. The other channels are those of a model of the kind "context" or
"hyperprior", whose arrays are named inner.<name>.

The payload holds first, for each plane in turn, for each of its pieces, a varint (gencomp/bitstream.py) and as many
bytes; then the payload of the inner model. A piece has at most 32768 rows and columns: the first has the first rows
and columns, pieces go on to the right and then down. Its bytes are the entropy-coded segment of a scan of baseline
sequential JPEG (ITU-T T.81), without a marker after it: one component of 8 bits, sampling factors 1, no restart
intervals, the typical Huffman tables of luminance (tables K.3 and K.5), and a quantisation table of 64 equal values

    (64 + sum over k of steps[k] times the quality weight k of 3 b) // 128

The inverse DCT is that of libjpeg ("islow", jidctint.c), in 32-bit integers. A decoder refuses a piece of fewer than
6 bits for each of its blocks of 8 x 8, and one with a byte FF that no byte 00 follows. A piece that is damaged
otherwise it may read in any way: the checksums of the file tell. A decoder with another inverse DCT finds that it
does not compute the model's known answer, which holds a fixed scan as decoded at each step (PROBE in jpeg.py).


6. Integer networks

Layers l = 0, 1, .. one after another. Inputs are first clamped to -b_c .. b_c, b the array `input_bound` (one entry a
channel, or one for all). A layer has weights w [O, I / groups, k, k], k odd, and for each output channel a bias b, a
multiplier M and a shift s:

    acc[o, row, column] = b_o + sum over i, dy, dx of w[o, i, dy, dx] x[first + i, row + dy - k // 2, column + dx - k //
                          2], where first = (o // (O / groups)) (I / groups), and x is 0 outside the image
    y[o, row, column]   = clamp((acc M_o + 2^(s_o - 1)) >> s_o, lo, hi)

Outside the image means: beyond the h' x w' hyper-latents for the first layers of `synthesis`, beyond their shuffled
size for later ones, and beyond h x w for context networks. With shuffle 2 the channel 4 c + 2 i + j of y goes to
channel c, row 2 row + i, column 2 column + j. All |acc M| + 2^(s-1) are below 2^53: a model whose weights
do not prove it is refused, so that IEEE double precision computes all of this exactly in any order.


7. Arrays of a model file

Integers of any width. tables.y_weights: the weights of all levels ("factorized": channels, set by set) end to end, 2
L_i + 2 each; tables.y_half_widths: L_i. tables.z_weights, tables.z_half_widths: the same of z, 2 K_c + 1 each; absent
in "factorized". tables.escape_weights: 17. <network>.input_bound, and <network>.<l>.weight, .bias, .multiplier, .shift
and .form, the last one (lo, hi, groups, shuffle), for the networks synthesis, context0, .. context3. thresholds.
centres. steps: 9, each 1 .. 255; inner.<name>: the arrays of the inner model.


8. Example

tests/golden/dot.gnc, one pixel, with the model tests/golden/tiny.safetensors (Z = 8, M = 16, kind "context"), quality
step 507. The payload has 45 bytes, read 8 and then 4 at a time, after the symbols named:

    32EDDCFE 5CAB3BFA   at the start: offset 32EDDCFE5CAB3BFA, range FFFFFFFFFFFFFFFF
                        z: tables of 29 weights, K = 14; symbols 12 13 14 16 16 15 13 15, so -2 -1 0 2 2 1 -1 1
                        (the first: v = 2067968, c = 2597376; then offset 0B4BDCFE5CD2DDFA, range 1F8DFFFFFFE07200)
                        quality weights 0 0 0 5 123 0 0 0 0; features of the one position 1305 0 0 1600 1110 ..
                        pass 0 at row 0, column 0, k = 0: group 0, channels 0 .. 3, means 4 -3 -8 23, levels 23 23 18 19
                        level 18 (L = 3), the -4 of channel 2: symbol 7, the escape
    8A5494FF            then level 19 (L = 3): 7, the escape; level 23 (L = 5): 8 and 4, that is 3 and -1
    FFFFFFFF            classes of the two escapes 1 and 3, low bits 0 of 1 and 2 of 3: o = 1 and 9, r = -4 and -8
                        y_int = 64 (3 -1 -4 -8) + means = 196 -67 -264 -489
                        pass 1: group 3, channels 12 .. 15, means 33 24 -48 -11, levels 24 20 16 25, all escaped:
                        level 16 (L = 3), level 20 (L = 4)
    FFFE4FC1            level 24 (L = 6), level 25 (L = 6)
    B06F3FFF            in this order classes 5 3 4 3, low bits 15 of 5
    FFFFFFFF            2 of 3, 5 of 4, 5 of 3: residuals 27 -9 17 13, that is 17 -9 27 13 by channel
                        pass 2: group 1, channels 4 .. 7, means -28 7 4 45, levels 20 16 21 22, all escaped: 16, 20
    FFFE3578            21, 22
    9E7DFFFF            classes 3 2 4 3, low bits 0 of 3, 1 of 2
    FFFFFFFF            11 of 4, 4 of 3: residuals 7 -7 18 -11 by channel
                        pass 3: group 2, channels 8 .. 11, means -30 27 -7 -37, levels 22 26 19 18, all escaped: 18, 19
    FFC9F881            22, 26
    6A                  and zeros: classes 2 3 4 3, low bits 2 of 2, 5 of 3, 3 of 4, 6 of 3: residuals 15 -14 10 -6 by
                        channel. In all 355.33 bits; N is a multiple of 2^24 in the last interval

y_int is 196 -67 -264 -489 420 -441 1156 -659 930 -869 633 -421 1121 -552 1680 821. `tests/gencomp/entropy/
test_layout.py` holds a decoder written from this text alone, and this example.
"""

from collections.abc import Callable, Mapping

from . import factorized, hybrid, hyperprior
from .contract import EntropyModel, IntArray

KINDS: dict[str, Callable[[Mapping[str, IntArray]], EntropyModel]] = {
    "context": hyperprior.from_arrays,
    "hyperprior": hyperprior.from_arrays,
    "factorized": factorized.from_arrays,
    "hybrid": hybrid.from_arrays,
}
