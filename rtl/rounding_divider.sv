// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// LANES quotients of a sum by a common count, a vector a cycle: clamp(sum / count), half away from zero, as TensorFlow
// Lite's average pooling (reference/integer_ops/pooling.h): (sum + count/2) / count for a positive sum, else
// (sum - count/2) / count, both towards zero. That is the sign of the sum times (|sum| + count/2) / count, and since an
// average of bytes is at most 255 in size, restoring division makes its 8 bits in 8 steps, one a stage. Count 0
// divides nothing: a sum of 0 stays 0. |sum| is at most 255 * 65535, 24 bits; with half the count it is still below 2^25.
module rounding_divider #(
  parameter int unsigned LANES = 16,
  parameter int unsigned TAG = 4
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               enable_i,                   // low: frozen
  input  logic               valid_i,
  input  int                 sum_i [LANES],
  input  logic [15:0]        count_i,
  input  logic signed [8:0]  clamp_min_i,
  input  logic signed [8:0]  clamp_max_i,
  input  logic [TAG-1:0]     tag_i,
  output logic               valid_o,
  output logic [8*LANES-1:0] bytes_o,
  output logic [TAG-1:0]     tag_o
);

  localparam int unsigned Steps = 8;

  // Stage s holds what step s begins with; stage 8 the quotient.
  logic [Steps:0] valid_q;
  logic [15:0] count_q [Steps+1];
  logic signed [8:0] clamp_min_q [Steps+1];
  logic signed [8:0] clamp_max_q [Steps+1];
  logic [TAG-1:0] tag_q [Steps+1];
  int unsigned remainder_q [Steps+1][LANES];
  int unsigned quotient_q [Steps+1][LANES];
  logic negative_q [Steps+1][LANES];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= '0;
      valid_o <= 1'b0;
    end else if (enable_i) begin
      valid_q <= {valid_q[Steps-1:0], valid_i};
      valid_o <= valid_q[Steps];
    end
  end

  // Stages from the last to the first, so that each reads what the one before held in the cycle before. Their state is
  // private to this block: blocking assignments in rolled loops are quick in simulation.
  /* verilator lint_off BLKSEQ */
  always_ff @(posedge clk_i) begin : stages
    if (enable_i && valid_q[Steps]) begin
      automatic int low = int'(clamp_min_q[Steps]);
      automatic int high = int'(clamp_max_q[Steps]);
      tag_o <= tag_q[Steps];
      for (int unsigned l = 0; l < LANES; l++) begin
        automatic int value = negative_q[Steps][l] ? -signed'(quotient_q[Steps][l]) : signed'(quotient_q[Steps][l]);
        bytes_o[8*l+:8] <= 8'(value < low ? low : value > high ? high : value);
      end
    end
    if (enable_i && (valid_q[Steps-1:0] != '0)) begin
      for (int unsigned s = 0; s < Steps; s++) begin
        if (valid_q[Steps-1-s]) begin
          automatic int unsigned divisor = 32'(count_q[Steps-1-s]) << s;
          for (int unsigned l = 0; l < LANES; l++) begin
            automatic int unsigned remainder = remainder_q[Steps-1-s][l];
            remainder_q[Steps-s][l] = remainder >= divisor ? remainder - divisor : remainder;
            quotient_q[Steps-s][l] = (quotient_q[Steps-1-s][l] << 1) + (remainder >= divisor ? 1 : 0);
            negative_q[Steps-s][l] = negative_q[Steps-1-s][l];
          end
          count_q[Steps-s] = count_q[Steps-1-s];
          clamp_min_q[Steps-s] = clamp_min_q[Steps-1-s];
          clamp_max_q[Steps-s] = clamp_max_q[Steps-1-s];
          tag_q[Steps-s] = tag_q[Steps-1-s];
        end
      end
    end
    if (enable_i && valid_i) begin
      for (int unsigned l = 0; l < LANES; l++) begin
        remainder_q[0][l] = (sum_i[l] < 0 ? -unsigned'(sum_i[l]) : unsigned'(sum_i[l])) + (32'(count_i) >> 1);
        quotient_q[0][l] = 0;
        negative_q[0][l] = sum_i[l] < 0;
      end
      count_q[0] = count_i == '0 ? 16'd1 : count_i;
      clamp_min_q[0] = clamp_min_i;
      clamp_max_q[0] = clamp_max_i;
      tag_q[0] = tag_i;
    end
  end
  /* verilator lint_on BLKSEQ */

endmodule
