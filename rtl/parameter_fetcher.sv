// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// Reads the parameter stream of depthwise commands, a word a cycle: for each tile the channel record (12 words), then a word
// a tap, then over the filling to the next tile. It runs ahead of the computation as far as there are sets to fill:
// RECORDS records and 2 sets of tap weights; so the next tile's parameters, of the next command too, arrive while a tile is
// computed. Tiles are counted modulo 8 in the order of the stream; the low bits of the count name a tile's sets.
module parameter_fetcher #(
  parameter int unsigned TAPS = 3,
  parameter int unsigned WEIGHT_PORT_ROWS = 4,
  localparam int unsigned Records = 4,
  localparam int unsigned Lane = TAPS > 1 ? $clog2(TAPS) : 1
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        enable_i,                           // low: frozen, no reads

  input  logic        command_valid_i,
  input  logic [31:0] address_i,
  input  logic [15:0] tiles_i,
  input  logic [7:0]  kernel_height_i,
  input  logic [7:0]  kernel_width_i,
  input  logic        weight_unsigned_i,
  input  logic signed [8:0] weight_zero_point_i,
  input  logic [31:0] window_low_i,
  input  logic [31:0] window_high_i,
  output logic        command_ready_o,

  output logic        read_valid_o,
  output logic [31:0] read_address_o,
  input  logic        read_grant_i,
  output logic        outside_o,                          // read_address_o is outside the window

  // The word that arrives in this cycle: where it belongs.
  output logic        word_valid_o,
  output logic        word_record_o,                      // of the record, else tap weights
  output logic [3:0]  word_index_o,                       // in the record
  output logic [1:0]  word_tile_o,                        // low bits of the tile's count
  output logic [7:0]  word_group_o,                       // tap weights: group of TAPS and lane in it
  output logic [Lane-1:0] word_lane_o,
  output logic        word_unsigned_o,
  output logic signed [8:0] word_zero_point_o,

  output logic [2:0]  fetched_o,                          // tiles that are here (from the next cycle on)
  input  logic [2:0]  records_done_i,                     // tiles whose record is not needed any more
  input  logic [2:0]  weights_done_i                      // tiles whose weights are not needed any more
);

  localparam logic [15:0] RecordWords = 16'd12;
  localparam logic [31:0] Filling = 32'(WEIGHT_PORT_ROWS) - 32'd1;

  // A command that waits for the one before it to be fetched.
  logic waiting_q, waiting_unsigned_q;
  logic [31:0] waiting_address_q, waiting_low_q, waiting_high_q;
  logic [15:0] waiting_tiles_q, waiting_taps_q;
  logic signed [8:0] waiting_zero_point_q;

  // The one that is fetched.
  logic active_q, unsigned_q;
  logic [31:0] address_q, tile_address_q, tile_words_q, low_q, high_q;
  logic [15:0] tiles_left_q, taps_q, index_q;             // index: word in the tile
  logic signed [8:0] zero_point_q;
  logic [7:0] group_q;
  logic [Lane-1:0] lane_q;
  logic [2:0] tile_q;

  logic in_record, allowed, granted, word_last, tile_last, load;
  logic [2:0] records_held, weights_held;

  assign command_ready_o = !waiting_q;
  assign in_record = index_q < RecordWords;
  assign records_held = tile_q - records_done_i;
  assign weights_held = tile_q - weights_done_i;
  assign allowed = active_q && (in_record ? records_held < 3'(Records) : weights_held < 3'd2);
  assign outside_o = allowed && (address_q < low_q || address_q >= high_q);
  assign read_valid_o = allowed && !outside_o && enable_i;
  assign read_address_o = address_q;
  assign granted = read_valid_o && read_grant_i;
  assign word_last = index_q + 16'd1 == RecordWords + taps_q;
  assign tile_last = tiles_left_q == '0;
  assign load = waiting_q && (!active_q || (granted && word_last && tile_last));
  assign fetched_o = tile_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      waiting_q <= 1'b0;
      active_q <= 1'b0;
      word_valid_o <= 1'b0;
      tile_q <= '0;
    end else if (enable_i) begin
      if (command_valid_i && command_ready_o) begin
        waiting_q <= 1'b1;
        waiting_address_q <= address_i;
        waiting_tiles_q <= tiles_i;
        waiting_taps_q <= 16'(kernel_height_i) * 16'(kernel_width_i);
        waiting_unsigned_q <= weight_unsigned_i;
        waiting_zero_point_q <= weight_zero_point_i;
        waiting_low_q <= window_low_i;
        waiting_high_q <= window_high_i;
      end else if (load) begin
        waiting_q <= 1'b0;
      end

      word_valid_o <= granted;
      if (granted) begin
        word_record_o <= in_record;
        word_index_o <= index_q[3:0];
        word_tile_o <= tile_q[1:0];
        word_group_o <= group_q;
        word_lane_o <= lane_q;
        word_unsigned_o <= unsigned_q;
        word_zero_point_o <= zero_point_q;
        if (!word_last) begin
          index_q <= index_q + 16'd1;
          address_q <= address_q + 32'd1;
          if (!in_record) begin
            lane_q <= lane_q == Lane'(TAPS - 1) ? '0 : lane_q + 1'b1;
            if (lane_q == Lane'(TAPS - 1)) group_q <= group_q + 8'd1;
          end
        end else begin
          tile_q <= tile_q + 3'd1;
          index_q <= '0;
          group_q <= '0;
          lane_q <= '0;
          tiles_left_q <= tiles_left_q - 16'd1;
          tile_address_q <= tile_address_q + tile_words_q;
          address_q <= tile_address_q + tile_words_q;
          active_q <= !tile_last;
        end
      end
      if (load) begin
        active_q <= 1'b1;
        address_q <= waiting_address_q;
        tile_address_q <= waiting_address_q;
        tiles_left_q <= waiting_tiles_q - 16'd1;
        taps_q <= waiting_taps_q;
        tile_words_q <= (32'(RecordWords) + 32'(waiting_taps_q) + Filling) & ~Filling;
        unsigned_q <= waiting_unsigned_q;
        zero_point_q <= waiting_zero_point_q;
        low_q <= waiting_low_q;
        high_q <= waiting_high_q;
        index_q <= '0;
        group_q <= '0;
        lane_q <= '0;
      end
    end
  end

endmodule
