// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// TensorFlow Lite's MultiplyByQuantizedMultiplier with double rounding, LANES values a cycle:
//   rounding_divide_by_power_of_two(saturating_rounding_doubling_high_multiply(value << left, multiplier), right)
// exactly as systole_requantise in common/fixed_point.h. Three stages: left shift, multiply and round, rounding shift.
//
// gemmlowp adds a nudge that depends on the product's sign and divides towards zero; that is the same as adding 2^30
// and shifting arithmetically, ties upwards. Only -2^31 * -2^31 yields the high word 0x80000000, so saturation is a test
// of the result. The rounding shift's ties go away from zero.
//
// Of a shift the low six bits count, signed: -31 to 30. A tag (an address, say) travels along. While hold_i is high
// nothing moves and inputs are not taken.
module rescale #(
  parameter int unsigned LANES = 16,
  parameter int unsigned TAG = 32
) (
  input  logic           clk_i,
  input  logic           rst_ni,
  input  logic           hold_i,
  input  logic           valid_i,
  input  int             value_i      [LANES],
  input  int             multiplier_i [LANES],
  input  int             shift_i      [LANES],
  input  logic [TAG-1:0] tag_i,
  output logic           valid_o,
  output int             value_o      [LANES],
  output logic [TAG-1:0] tag_o,
  output logic           busy_o              // a value is in some stage, that of the output included
);

  logic valid_1_q, valid_2_q, valid_3_q;
  logic [TAG-1:0] tag_1_q, tag_2_q, tag_3_q;

  assign valid_o = valid_3_q;
  assign tag_o = tag_3_q;
  assign busy_o = valid_1_q | valid_2_q | valid_3_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_1_q <= 1'b0;
      valid_2_q <= 1'b0;
      valid_3_q <= 1'b0;
    end else if (!hold_i) begin
      valid_1_q <= valid_i;
      valid_2_q <= valid_1_q;
      valid_3_q <= valid_2_q;
      tag_1_q <= tag_i;
      tag_2_q <= tag_1_q;
      tag_3_q <= tag_2_q;
    end
  end

  // Stages from the last to the first, so that each reads what the one before held in the cycle before. All but the
  // result is private to this block: blocking assignments are quick in simulation.
  int unsigned result [LANES];
  int unsigned shifted [LANES];
  int unsigned multiplier [LANES];
  int unsigned high [LANES];
  logic [4:0] right_1 [LANES];
  logic [4:0] right_2 [LANES];

  // State private to the block: blocking assignments in rolled loops are quick in simulation (docs/rtl.md).
  /* verilator lint_off BLKSEQ */
  always_ff @(posedge clk_i) begin : stages
    if (!hold_i && valid_2_q) begin
      for (int unsigned l = 0; l < LANES; l++) begin
        automatic int unsigned mask = ~(32'hffffffff << right_2[l]);
        automatic int unsigned negative = high[l] >> 31;
        result[l] = unsigned'(signed'(high[l]) >>> right_2[l])
                    + (((high[l] & mask) > ((mask >> 1) + negative)) ? 32'd1 : 32'd0);
      end
      value_o <= result;
    end
    if (!hold_i && valid_1_q) begin
      for (int unsigned l = 0; l < LANES; l++) begin
        automatic int unsigned rounded = 32'((unsigned'(longint'(signed'(shifted[l])))
                                              * unsigned'(longint'(signed'(multiplier[l]))) + 64'h4000_0000) >> 31);
        high[l] = (rounded == 32'h8000_0000) ? 32'h7fff_ffff : rounded;
        right_2[l] = right_1[l];
      end
    end
    if (!hold_i && valid_i) begin
      for (int unsigned l = 0; l < LANES; l++) begin
        shifted[l] = unsigned'(value_i[l]) << (shift_i[l][5] ? 5'd0 : shift_i[l][4:0]);
        right_1[l] = shift_i[l][5] ? 5'd0 - shift_i[l][4:0] : 5'd0;
        multiplier[l] = unsigned'(multiplier_i[l]);
      end
    end
  end
  /* verilator lint_on BLKSEQ */

endmodule
