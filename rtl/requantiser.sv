// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// Requantisation of LANES int32 values a cycle to bytes:
//   clamp(requantise(value, multiplier, shift) + zero_point, clamp_min, clamp_max)
// Four stages: those of rescale.sv, then the zero point and the clamp. Zero point and clamp are taken with the value, so
// that a new command may follow another without a gap; they fit 9 bits (-128 to 255). A tag travels along. While hold_i is high
// nothing moves: the output stays and inputs are not taken.
module requantiser #(
  parameter int unsigned LANES = 16,
  parameter int unsigned TAG = 32
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               hold_i,
  input  logic               valid_i,
  input  int                 value_i      [LANES],
  input  int                 multiplier_i [LANES],
  input  int                 shift_i      [LANES],
  input  logic signed [8:0]  zero_point_i,
  input  logic signed [8:0]  clamp_min_i,
  input  logic signed [8:0]  clamp_max_i,
  input  logic [TAG-1:0]     tag_i,
  output logic               valid_o,
  output logic [8*LANES-1:0] bytes_o,
  output logic [TAG-1:0]     tag_o,
  output logic               busy_o              // a value is in some stage, that of the output included
);

  logic rescaled_valid, rescale_busy;
  int rescaled [LANES];
  logic [TAG+26:0] rescaled_tag;

  rescale #(.LANES(LANES), .TAG(TAG + 27)) i_rescale (
    .clk_i, .rst_ni, .hold_i, .valid_i, .value_i, .multiplier_i, .shift_i,
    .tag_i({zero_point_i, clamp_min_i, clamp_max_i, tag_i}),
    .valid_o(rescaled_valid), .value_o(rescaled), .tag_o(rescaled_tag), .busy_o(rescale_busy)
  );

  logic valid_q;
  logic [TAG-1:0] tag_q;

  assign valid_o = valid_q;
  assign tag_o = tag_q;
  assign busy_o = rescale_busy | valid_q;

  int zero_point, low, high;
  assign zero_point = int'(signed'(rescaled_tag[TAG+18+:9]));
  assign low = int'(signed'(rescaled_tag[TAG+9+:9]));
  assign high = int'(signed'(rescaled_tag[TAG+:9]));

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= 1'b0;
    end else if (!hold_i) begin
      valid_q <= rescaled_valid;
      if (rescaled_valid) begin
        tag_q <= rescaled_tag[TAG-1:0];
        for (int unsigned l = 0; l < LANES; l++) begin
          automatic int sum = rescaled[l] + zero_point;
          bytes_o[8*l+:8] <= 8'(sum < low ? low : sum > high ? high : sum);
        end
      end
    end
  end

endmodule
