// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// ACCUMULATORS x COLUMNS int32 sums and the channel records of RECORDS output tiles. A vector of partial sums goes
// - not last: into accumulator index_i (first_i: written, otherwise added);
// - last: with what was summed before (unless first_i) and the bias straight to the output, one cycle later, together with
//   the record's multipliers and shifts. These change only with the vector of index 0.
// A record is 12 words: int32 of COLUMNS lanes three times (bias, multiplier, shift), COLUMNS / 4 lanes a word.
module accumulator_bank #(
  parameter int unsigned COLUMNS = 16,
  parameter int unsigned ACCUMULATORS = 512,
  parameter int unsigned WEIGHT_PORT_ROWS = 4,
  parameter int unsigned RECORDS = 8,
  localparam int unsigned WORD = 8 * COLUMNS,
  localparam int unsigned RECORD_BITS = $clog2(RECORDS)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   hold_i,
  // records
  input  logic [WEIGHT_PORT_ROWS-1:0] record_valid_i,
  input  logic [WORD-1:0]        record_word_i  [WEIGHT_PORT_ROWS],
  input  logic [RECORD_BITS-1:0] record_i,
  input  logic [3:0]             record_index_i,                     // word of port 0, 0 to 11
  input  logic [26:0]            record_common_i,                    // kept beside the record
  // partial sums
  input  logic                   valid_i,
  input  logic                   first_i,
  input  logic                   last_i,
  input  logic [15:0]            index_i,
  input  logic [RECORD_BITS-1:0] sum_record_i,
  input  int                     sum_i          [COLUMNS],
  // to requantisation
  output logic                   valid_o,
  output int                     value_o        [COLUMNS],
  output int                     multiplier_o   [COLUMNS],
  output int                     shift_o        [COLUMNS],
  output logic [26:0]            common_o
);

  localparam int unsigned WORD_LANES = COLUMNS / 4;
  localparam int unsigned INDEX_BITS = $clog2(ACCUMULATORS);

  int accumulators [ACCUMULATORS][COLUMNS];
  int bias [RECORDS][COLUMNS];
  int multiplier [RECORDS][COLUMNS];
  int shift [RECORDS][COLUMNS];
  logic [26:0] common [RECORDS];
  int total [COLUMNS];
  logic valid_q;

  assign valid_o = valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= 1'b0;
    else if (!hold_i) valid_q <= valid_i && last_i;
  end

  // State private to the block: blocking assignments in rolled loops are quick in simulation (docs/rtl.md).
  /* verilator lint_off BLKSEQ */
  always_ff @(posedge clk_i) begin : bank
    if (!hold_i && valid_i) begin
      automatic logic [INDEX_BITS-1:0] index = index_i[INDEX_BITS-1:0];
      if (!last_i) begin
        if (first_i) begin
          for (int unsigned c = 0; c < COLUMNS; c++) accumulators[index][c] = sum_i[c];
        end else begin
          for (int unsigned c = 0; c < COLUMNS; c++) accumulators[index][c] = accumulators[index][c] + sum_i[c];
        end
      end else begin
        if (first_i) begin
          for (int unsigned c = 0; c < COLUMNS; c++) total[c] = sum_i[c] + bias[sum_record_i][c];
        end else begin
          for (int unsigned c = 0; c < COLUMNS; c++) begin
            total[c] = accumulators[index][c] + sum_i[c] + bias[sum_record_i][c];
          end
        end
        value_o <= total;
        if (index_i == 16'd0) begin
          multiplier_o <= multiplier[sum_record_i];
          shift_o <= shift[sum_record_i];
          common_o <= common[sum_record_i];
        end
      end
    end
    for (int unsigned w = 0; w < WEIGHT_PORT_ROWS; w++) begin
      if (!hold_i && record_valid_i[w]) begin
        automatic int unsigned word = 32'(record_index_i) + w;
        automatic int unsigned lane = (word % 4) * WORD_LANES;
        for (int unsigned l = 0; l < WORD_LANES; l++) begin
          if (word < 4) bias[record_i][lane + l] = signed'(record_word_i[w][32*l+:32]);
          else if (word < 8) multiplier[record_i][lane + l] = signed'(record_word_i[w][32*l+:32]);
          else shift[record_i][lane + l] = signed'(record_word_i[w][32*l+:32]);
        end
        common[record_i] = record_common_i;
      end
    end
  end
  /* verilator lint_on BLKSEQ */

endmodule
