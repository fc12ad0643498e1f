// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// The lanes of the depthwise unit: COLUMNS x TAPS multipliers, the accumulators behind them and the parameters of two tiles.
// Three stages that never stop:
//   operands    each tap's word, the cycle after its grant: bytes minus zero point, 9 bits. Words of one group may
//               arrive in different cycles; group_valid_i says that the last one arrives now.
//               Taps that the word before in the row had, too, are taken from what was kept of it.
//   group       products with the tap weights (or the bytes themselves) summed, or the largest or smallest, over the group's taps
//   word        added to the word's groups before; with the last one bias is added and the word leaves
// Taps in the padding are left out of the sum, which is what an operand of 0 does.
module tap_datapath #(
  parameter int unsigned COLUMNS = 16,
  parameter int unsigned TAPS = 3,
  parameter int unsigned TAG = 4,
  parameter int unsigned CONTEXT = 2,
  parameter int unsigned KEPT = 32,                       // taps that are kept
  localparam int unsigned Word = 8 * COLUMNS,
  localparam int unsigned Lane = TAPS > 1 ? $clog2(TAPS) : 1
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              enable_i,                     // low: frozen

  // Parameters as parameter_fetcher names them.
  input  logic              word_valid_i,
  input  logic              word_record_i,
  input  logic [3:0]        word_index_i,
  input  logic [1:0]        word_tile_i,
  input  logic [7:0]        word_group_i,
  input  logic [Lane-1:0]   word_lane_i,
  input  logic              word_unsigned_i,
  input  logic signed [8:0] word_zero_point_i,
  input  logic [Word-1:0]   word_data_i,

  // Operands that arrive in this cycle, of a command with this signedness and zero point.
  input  logic              operand_valid_i [TAPS],
  input  logic [Word-1:0]   operand_data_i  [TAPS],
  input  logic              input_unsigned_i,
  input  logic signed [8:0] input_zero_point_i,

  // A group whose last operand arrives in this cycle.
  input  logic              group_valid_i,
  input  logic [TAPS-1:0]   group_mask_i,                 // taps that are not padding
  input  logic [TAPS-1:0]   group_reused_i,               // taps that are the word before's, stride_i taps further
  input  logic [7:0]        stride_i,
  input  logic              keeps_i,                      // this group's operands may be reused
  input  logic [7:0]        group_index_i,
  input  logic              group_first_i,                // of its word
  input  logic              group_last_i,                 // of its word
  input  logic              tile_last_i,                  // of its tile
  input  logic              weighted_i,                   // depthwise: products; else sums of bytes
  input  logic              largest_i,                    // max_pool and min_pool
  input  logic              smallest_i,                   // min_pool
  input  logic [CONTEXT-1:0] context_i,
  input  logic [TAG-1:0]    tag_i,

  // Constants of the command whose word leaves the accumulators; not weighted: its multiplier.
  output logic [CONTEXT-1:0] sum_context_o,
  input  logic signed [31:0] sum_multiplier_i,
  input  logic signed [31:0] sum_shift_i,

  output logic              valid_o,                      // a word
  output int                value_o      [COLUMNS],
  output int                multiplier_o [COLUMNS],
  output int                shift_o      [COLUMNS],
  output logic [15:0]       count_o,                      // of its taps that are not padding
  output logic [CONTEXT-1:0] context_o,
  output logic [TAG-1:0]    tag_o,

  output logic [2:0]        weights_done_o,               // tiles (modulo 8) whose weights are used up
  output logic [2:0]        records_done_o                // tiles whose records are used up
);

  localparam int unsigned Groups = (256 + TAPS - 1) / TAPS;
  localparam int unsigned Row = $clog2(2 * Groups);
  localparam int unsigned Kept = $clog2(KEPT);
  localparam int unsigned Chunk = COLUMNS / 4;            // lanes of a record in a word; lanes in 32 bits are 4

  logic group_valid_q, group_first_q, group_last_q, group_tile_last_q, group_weighted_q, group_largest_q;
  logic group_smallest_q, sum_smallest_q;
  logic group_unsigned_q, group_keeps_q;
  logic [Kept-1:0] group_index_q;                         // only of groups that are kept
  logic [TAPS-1:0] group_mask_q;
  logic [Row-1:0] group_row_q, word_row;
  logic [CONTEXT-1:0] group_context_q;
  logic [TAG-1:0] group_tag_q;
  logic sum_valid_q, sum_first_q, sum_last_q, sum_tile_last_q, sum_weighted_q, sum_largest_q;
  logic [CONTEXT-1:0] sum_context_q;
  logic [TAG-1:0] sum_tag_q;
  logic [15:0] sum_count_q, count_q, count_d;
  logic [2:0] weights_done_q, records_done_q;

  // There are fewer groups with more taps.
  logic unused_group_bits;
  assign unused_group_bits = ^word_group_i ^ ^group_index_i ^ ^stride_i;

  assign sum_context_o = sum_context_q;
  assign weights_done_o = weights_done_q;
  assign records_done_o = records_done_q;
  assign word_row = Row'(word_group_i) + (word_tile_i[0] ? Row'(Groups) : '0);
  assign count_d = sum_count_q + (sum_first_q ? '0 : count_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      group_valid_q <= 1'b0;
      sum_valid_q <= 1'b0;
      valid_o <= 1'b0;
      weights_done_q <= '0;
      records_done_q <= '0;
    end else if (enable_i) begin
      group_valid_q <= group_valid_i;
      sum_valid_q <= group_valid_q;
      valid_o <= sum_valid_q && sum_last_q;
      if (group_valid_i) begin
        group_mask_q <= group_mask_i;
        group_first_q <= group_first_i;
        group_last_q <= group_last_i;
        group_tile_last_q <= tile_last_i;
        group_weighted_q <= weighted_i;
        group_largest_q <= largest_i;
        group_smallest_q <= smallest_i;
        group_unsigned_q <= input_unsigned_i;
        group_keeps_q <= keeps_i;
        group_index_q <= Kept'(group_index_i);
        group_row_q <= weighted_i ? Row'(group_index_i) + (weights_set ? Row'(Groups) : '0) : '0;
        group_context_q <= context_i;
        group_tag_q <= tag_i;
      end
      if (group_valid_q) begin
        sum_first_q <= group_first_q;
        sum_last_q <= group_last_q;
        sum_tile_last_q <= group_tile_last_q;
        sum_weighted_q <= group_weighted_q;
        sum_largest_q <= group_largest_q;
        sum_smallest_q <= group_smallest_q;
        sum_context_q <= group_context_q;
        sum_tag_q <= group_tag_q;
        sum_count_q <= 16'($countones(group_mask_q));
        if (group_weighted_q && group_tile_last_q) weights_done_q <= weights_done_q + 3'd1;
      end
      if (sum_valid_q) begin
        count_q <= count_d;
        if (sum_weighted_q && sum_tile_last_q) records_done_q <= records_done_q + 3'd1;
        if (sum_last_q) begin
          count_o <= sum_largest_q ? 16'd1 : count_d;
          context_o <= sum_context_q;
          tag_o <= sum_tag_q;
        end
      end
    end
  end

  // The set of the group that arrives: of the tile behind those that are used up, the group in front of it included.
  logic weights_set;
  assign weights_set = weights_done_q[0] ^ (group_valid_q && group_weighted_q && group_tile_last_q);

  // Lanes. Stages from the last to the first, so that each reads what the one before held in the cycle before. All but
  // what leaves is private to this block: blocking assignments in rolled loops are quick in simulation.
  logic signed [8:0] operand [TAPS][COLUMNS];
  logic signed [8:0] kept [KEPT][COLUMNS];
  logic signed [8:0] weight [2*Groups][TAPS][COLUMNS];
  int partial [COLUMNS];
  int sum [COLUMNS];
  int value [COLUMNS];
  int bias [4][COLUMNS];
  int multiplier [4][COLUMNS];
  int shift [4][COLUMNS];
  int flat [COLUMNS];

  // State private to the block: blocking assignments in rolled loops are quick in simulation (docs/rtl.md).
  /* verilator lint_off BLKSEQ */
  always_ff @(posedge clk_i) begin : lanes
    if (enable_i && sum_valid_q) begin
      if (sum_first_q) begin
        sum = partial;
      end else if (sum_largest_q) begin
        for (int unsigned c = 0; c < COLUMNS; c++)
          sum[c] = (partial[c] > sum[c]) != sum_smallest_q ? partial[c] : sum[c];
      end else begin
        for (int unsigned c = 0; c < COLUMNS; c++) sum[c] = sum[c] + partial[c];
      end
      if (sum_last_q && sum_weighted_q) begin
        for (int unsigned c = 0; c < COLUMNS; c++) value[c] = sum[c] + bias[records_done_q[1:0]][c];
        value_o <= value;
        multiplier_o <= multiplier[records_done_q[1:0]];
        shift_o <= shift[records_done_q[1:0]];
      end else if (sum_last_q) begin
        value_o <= sum;
        for (int unsigned c = 0; c < COLUMNS; c++) flat[c] = sum_multiplier_i;
        multiplier_o <= flat;
        for (int unsigned c = 0; c < COLUMNS; c++) flat[c] = sum_shift_i;
        shift_o <= flat;
      end
    end

    if (enable_i && group_valid_q) begin
      automatic int neutral = !group_largest_q ? 0 : group_smallest_q ? (group_unsigned_q ? 255 : 127)
                                                                      : (group_unsigned_q ? 0 : -128);
      for (int unsigned c = 0; c < COLUMNS; c++) partial[c] = neutral;
      for (int unsigned j = 0; j < TAPS; j++) begin
        if (group_mask_q[j]) begin
          if (group_weighted_q) begin
            for (int unsigned c = 0; c < COLUMNS; c++)
              partial[c] = partial[c] + int'(operand[j][c]) * int'(weight[group_row_q][j][c]);
          end else if (group_largest_q) begin
            for (int unsigned c = 0; c < COLUMNS; c++)
              partial[c] = (int'(operand[j][c]) > partial[c]) != group_smallest_q ? int'(operand[j][c]) : partial[c];
          end else begin
            for (int unsigned c = 0; c < COLUMNS; c++) partial[c] = partial[c] + int'(operand[j][c]);
          end
        end
      end
    end

    // What the next word of the row may take again; then what this one takes.
    if (enable_i && group_valid_q && group_keeps_q) begin
      for (int unsigned j = 0; j < TAPS; j++) begin
        automatic logic [Kept-1:0] tap = group_index_q * Kept'(TAPS) + Kept'(j);
        if (group_mask_q[j]) kept[tap] = operand[j];
      end
    end
    if (enable_i && group_valid_i) begin
      for (int unsigned j = 0; j < TAPS; j++) begin
        automatic logic [Kept-1:0] tap = Kept'(group_index_i) * Kept'(TAPS) + Kept'(j) + Kept'(stride_i);
        if (group_reused_i[j]) operand[j] = kept[tap];
      end
    end

    // A byte is made signed by its top bit's complement: -128 to 127 becomes 0 to 255, and the offset takes that back.
    if (enable_i) begin
      automatic logic [31:0] flip = input_unsigned_i ? 32'h0 : 32'h80808080;
      automatic logic signed [8:0] offset = input_zero_point_i + (input_unsigned_i ? 9'sd0 : 9'sd128);
      for (int unsigned j = 0; j < TAPS; j++) begin
        if (operand_valid_i[j]) begin
          for (int unsigned i = 0; i < Chunk; i++) begin
            automatic logic [31:0] four = operand_data_i[j][32*i+:32] ^ flip;
            operand[j][4*i] = signed'(9'(four[7:0])) - offset;
            operand[j][4*i+1] = signed'(9'(four[15:8])) - offset;
            operand[j][4*i+2] = signed'(9'(four[23:16])) - offset;
            operand[j][4*i+3] = signed'(9'(four[31:24])) - offset;
          end
        end
      end
    end

    if (enable_i && word_valid_i) begin
      if (word_record_i) begin
        for (int unsigned i = 0; i < Chunk; i++) begin
          automatic int entry = signed'(word_data_i[32*i+:32]);
          case (word_index_i[3:2])
            2'd0: bias[word_tile_i][Chunk*32'(word_index_i[1:0])+i] = entry;
            2'd1: multiplier[word_tile_i][Chunk*32'(word_index_i[1:0])+i] = entry;
            default: shift[word_tile_i][Chunk*32'(word_index_i[1:0])+i] = entry;
          endcase
        end
      end else begin
        automatic logic [31:0] flip = word_unsigned_i ? 32'h0 : 32'h80808080;
        automatic logic signed [8:0] offset = word_zero_point_i + (word_unsigned_i ? 9'sd0 : 9'sd128);
        for (int unsigned i = 0; i < Chunk; i++) begin
          automatic logic [31:0] four = word_data_i[32*i+:32] ^ flip;
          weight[word_row][word_lane_i][4*i] = signed'(9'(four[7:0])) - offset;
          weight[word_row][word_lane_i][4*i+1] = signed'(9'(four[15:8])) - offset;
          weight[word_row][word_lane_i][4*i+2] = signed'(9'(four[23:16])) - offset;
          weight[word_row][word_lane_i][4*i+3] = signed'(9'(four[31:24])) - offset;
        end
      end
    end
  end
  /* verilator lint_on BLKSEQ */

endmodule
