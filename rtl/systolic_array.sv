// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// The weight-stationary systolic array. A processing element (r, c) holds two weights, takes an operand with its set
// select from the left, a partial sum from above, and registers both for its neighbours; the operand of row r enters r
// cycles after that of row 0, so what belongs together meets along anti-diagonals, the wavefront. Skew in front and
// deskew behind are memories used as delay lines. A vector that enters with valid_i leaves as COLUMNS sums, valid_o and
// its tag after ROWS + COLUMNS - 1 cycles.
//
// Weight tiles come in through a buffer of SLOTS tiles (fill_*: WEIGHT_PORT_ROWS rows a cycle, made operands of 9 bits
// as they are written). A launch moves the tile of a slot into one of the two weight sets right behind the wavefront:
// each column has its slice of the buffer, whose read address moves from column to column, one a cycle, so that (r, c)
// is written r + c cycles after (0, 0). There is no shift chain and no second skew. Who launches at cycle l must have
// seen the last vector of the set's old tile enter at valid_i no later than l + 1, and may let the first of the new one
// enter at l + 2.
//
// An element keeps operand and set select in one word: bits 13:5 the operand + 256, bits 4:0 how far its weight pair
// {set 1, set 0}, 16 bits each, is to be shifted left before its upper half is the weight: 0 or 16. All state is private
// to one block and written with blocking assignments in the order in which registers may be overwritten: rows from the
// last up; nothing runs in an empty array.
module systolic_array #(
  parameter int unsigned ROWS = 16,
  parameter int unsigned COLUMNS = 16,
  parameter int unsigned WEIGHT_PORT_ROWS = 4,
  parameter int unsigned SLOTS = 10,
  parameter int unsigned TAG = 60,
  localparam int unsigned WORD = 8 * COLUMNS,
  localparam int unsigned SLOT_BITS = $clog2(SLOTS),
  localparam int unsigned ROW_BITS = $clog2(ROWS)
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 hold_i,
  // weights into the buffer
  input  logic [WEIGHT_PORT_ROWS-1:0] fill_valid_i,
  input  logic [WORD-1:0]      fill_word_i  [WEIGHT_PORT_ROWS],
  input  logic [SLOT_BITS-1:0] fill_slot_i,
  input  logic [ROW_BITS-1:0]  fill_row_i,                      // of port 0
  input  logic                 fill_unsigned_i,
  input  logic signed [8:0]    fill_zero_point_i,
  // a tile from the buffer into a set
  input  logic                 launch_i,
  input  logic [SLOT_BITS-1:0] launch_slot_i,
  input  logic                 launch_set_i,
  input  logic [ROW_BITS:0]    launch_rows_i,
  output logic [SLOTS-1:0]     slot_done_o,                     // a pulse: the slot's tile has left
  // operands
  input  logic                 valid_i,
  input  logic                 set_i,
  input  logic [8*ROWS-1:0]    word_i,
  input  logic [ROWS-1:0]      mask_i,                          // lanes that are not 0
  input  logic                 unsigned_i,
  input  logic signed [8:0]    zero_point_i,
  input  logic [TAG-1:0]       tag_i,
  // sums
  output logic                 valid_o,
  output int                   sum_o        [COLUMNS],
  output logic [TAG-1:0]       tag_o
);

  localparam int unsigned ELEMENTS = ROWS * COLUMNS;
  localparam int unsigned LATENCY = ROWS + COLUMNS - 1;
  localparam int unsigned TAGS = 2 * (ROWS > COLUMNS ? ROWS : COLUMNS);

  logic [15:0] operand [ELEMENTS];
  int unsigned partial [ELEMENTS];
  int unsigned weights [ELEMENTS];
  logic [15:0] entering [ROWS];
  logic [15:0] skew [ROWS][ROWS];          // [cycle][row]
  int unsigned deskew [COLUMNS][COLUMNS];  // [cycle][column]
  int leaving [COLUMNS];
  logic [TAG-1:0] tags [TAGS];
  logic valids [TAGS];
  int unsigned tick;
  int unsigned remaining;                  // cycles until the array is empty

  logic [15:0] slots [SLOTS][ROWS][COLUMNS];
  logic lane_active [SLOTS];
  int unsigned lane_cycle [SLOTS];         // since the launch
  int unsigned lane_rows [SLOTS];
  logic lane_set [SLOTS];
  int unsigned lanes;                      // active ones

  // State private to the block: blocking assignments in rolled loops are quick in simulation (docs/rtl.md).
  /* verilator lint_off BLKSEQ */
  always_ff @(posedge clk_i) begin : array
    automatic int unsigned flip = 0;
    automatic int unsigned offset = 0;
    automatic int unsigned shift = 0;
    automatic logic [SLOTS-1:0] slot_done = '0;
    if (!rst_ni) begin
      tick = 0;
      remaining = 0;
      lanes = 0;
      for (int unsigned s = 0; s < SLOTS; s++) lane_active[s] = 1'b0;
      for (int unsigned t = 0; t < TAGS; t++) valids[t] = 1'b0;
      valid_o <= 1'b0;
      slot_done_o <= '0;
    end else if (!hold_i) begin
      if (valid_i) remaining = LATENCY;
      if (remaining != 0) begin
        remaining = remaining - 1;
        tick = (tick + 1) % TAGS;

        // Bytes become operands; each row is delayed by its number.
        if (valid_i) begin
          flip = unsigned_i ? 32'd0 : 32'h80;
          offset = flip + unsigned'(int'(zero_point_i)) - 32'd256;
          shift = set_i ? 32'd0 : 32'd16;
          for (int unsigned r = 0; r < ROWS; r++) begin
            skew[tick % ROWS][r] = 16'(((mask_i[r] ? ((32'(word_i[8*r+:8])) ^ flip) - offset : 32'd256)
                                        & 32'h1ff) << 5 | shift);
          end
        end
        for (int unsigned r = 0; r < ROWS; r++) entering[r] = skew[(tick - r) % ROWS][r];

        // Operands move right, partial sums down.
        for (int unsigned i = 0; i < ELEMENTS - 1; i++) operand[ELEMENTS-1-i] = operand[ELEMENTS-2-i];
        for (int unsigned r = 0; r < ROWS; r++) operand[r*COLUMNS] = entering[r];
        for (int unsigned b = 0; b < ROWS - 1; b++) begin
          automatic int unsigned base = (ROWS - 1 - b) * COLUMNS;
          for (int unsigned c = 0; c < COLUMNS; c++) begin
            partial[base+c] = partial[base+c-COLUMNS] + ((32'(operand[base+c]) >> 5) - 32'd256)
                              * unsigned'(signed'(weights[base+c] << operand[base+c][4:0]) >>> 16);
          end
        end
        for (int unsigned c = 0; c < COLUMNS; c++) begin
          partial[c] = ((32'(operand[c]) >> 5) - 32'd256) * unsigned'(signed'(weights[c] << operand[c][4:0]) >>> 16);
        end

        // Column c waits for the last one.
        for (int unsigned c = 0; c < COLUMNS; c++) begin
          deskew[(tick + COLUMNS - 1 - c) % COLUMNS][c] = partial[ELEMENTS-COLUMNS+c];
        end
        valids[tick % TAGS] = valid_i;
        tags[tick % TAGS] = tag_i;
        valid_o <= valids[(tick + TAGS + 1 - LATENCY) % TAGS];
        if (valids[(tick + TAGS + 1 - LATENCY) % TAGS]) begin
          tag_o <= tags[(tick + TAGS + 1 - LATENCY) % TAGS];
          for (int unsigned c = 0; c < COLUMNS; c++) leaving[c] = signed'(deskew[tick % COLUMNS][c]);
          sum_o <= leaving;
        end
      end else begin
        valid_o <= 1'b0;
      end

      // Weights follow the wavefront: a launched tile is one anti-diagonal a cycle.
      if (lanes != 0) begin
        for (int unsigned s = 0; s < SLOTS; s++) begin
          if (lane_active[s]) begin
            for (int unsigned c = 0; c < COLUMNS; c++) begin
              automatic int unsigned r = lane_cycle[s] - c;
              if (r < lane_rows[s]) begin
                automatic logic [$clog2(ELEMENTS)-1:0] i = ($clog2(ELEMENTS))'(r * COLUMNS + c);
                weights[i] = lane_set[s] ? {slots[s][r][c], weights[i][15:0]} : {weights[i][31:16], slots[s][r][c]};
              end
            end
            lane_cycle[s] = lane_cycle[s] + 1;
            if (lane_cycle[s] == lane_rows[s] + COLUMNS - 1) begin
              lane_active[s] = 1'b0;
              lanes = lanes - 1;
              slot_done[s] = 1'b1;
            end
          end
        end
      end
      slot_done_o <= slot_done;
      if (launch_i) begin
        lane_active[launch_slot_i] = 1'b1;
        lane_cycle[launch_slot_i] = 0;
        lane_rows[launch_slot_i] = 32'(launch_rows_i);
        lane_set[launch_slot_i] = launch_set_i;
        lanes = lanes + 1;
      end

      for (int unsigned w = 0; w < WEIGHT_PORT_ROWS; w++) begin
        if (fill_valid_i[w]) begin
          flip = fill_unsigned_i ? 32'd0 : 32'h80;
          offset = flip + unsigned'(int'(fill_zero_point_i));
          for (int unsigned c = 0; c < COLUMNS; c++) begin
            slots[fill_slot_i][fill_row_i + ROW_BITS'(w)][c] =
              16'(signed'((((32'(fill_word_i[w][8*c+:8])) ^ flip) - offset) << 23) >>> 23);
          end
        end
      end
    end
  end
  /* verilator lint_on BLKSEQ */

endmodule
