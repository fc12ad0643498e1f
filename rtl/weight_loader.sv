// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// Reads a command's parameter stream, WEIGHT_PORT_ROWS consecutive words a cycle: for each output tile a channel record
// of 12 words, then its weight tiles of tile_rows words; all again for every block of rows. What arrives goes to the
// accumulator bank (records, RECORDS of them) or to the array's weight buffer (tiles, SLOTS of them), in rings. The loader
// runs ahead of the operands as far as these have room, into the next command, too.
//
// A tile that is whole is launched into weight set (tile number mod 2) once the operands of the tile two before have all
// entered. launched_o and streamed_i count tiles modulo 256; at most two tiles lie between them.
//
// A step is one group of words. Ports whose word was refused ask again, the others wait; the next step begins when all
// were granted. Words are used the cycle after the grant, straight from the memory.
module weight_loader
  import systole_pkg::*;
#(
  parameter int unsigned ROWS = 16,
  parameter int unsigned WEIGHT_PORT_ROWS = 4,
  parameter int unsigned SLOTS = 10,
  parameter int unsigned RECORDS = 8,
  localparam int unsigned SLOT_BITS = $clog2(SLOTS),
  localparam int unsigned ROW_BITS = $clog2(ROWS),
  localparam int unsigned RECORD_BITS = $clog2(RECORDS)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   hold_i,
  // a command
  input  logic                   command_valid_i,
  input  window_command_t        command_i,
  input  logic [31:0]            window_low_i,
  input  logic [31:0]            window_high_i,
  output logic                   command_ready_o,
  // memory
  output logic                   read_valid_o   [WEIGHT_PORT_ROWS],
  output logic [31:0]            read_address_o [WEIGHT_PORT_ROWS],
  input  logic                   read_grant_i   [WEIGHT_PORT_ROWS],
  output logic                   refused_o,
  // to the weight buffer: valid in the cycle of the data
  output logic [WEIGHT_PORT_ROWS-1:0] fill_valid_o,
  output logic [SLOT_BITS-1:0]   fill_slot_o,
  output logic [ROW_BITS-1:0]    fill_row_o,
  output logic                   fill_unsigned_o,
  output logic signed [8:0]      fill_zero_point_o,
  // to the records
  output logic [WEIGHT_PORT_ROWS-1:0] record_valid_o,
  output logic [RECORD_BITS-1:0] record_o,
  output logic [3:0]             record_index_o,
  output logic [26:0]            record_common_o,                   // output zero point, clamp_min, clamp_max
  input  logic                   record_done_i,                     // the oldest record is free
  // launches
  output logic                   launch_o,
  output logic [SLOT_BITS-1:0]   launch_slot_o,
  output logic                   launch_set_o,
  output logic [ROW_BITS:0]      launch_rows_o,
  output logic [7:0]             launched_o,
  input  logic [7:0]             streamed_i,
  input  logic [SLOTS-1:0]       slot_done_i,
  // an address left the window
  output logic                   error_o,
  output logic [31:0]            error_address_o
);

  localparam int unsigned RECORD_WORDS = 12;
  localparam logic [7:0] PORTS = 8'(WEIGHT_PORT_ROWS);

  // The command after the current one.
  logic next_valid_q;
  window_command_t next_q;
  logic [31:0] next_low_q, next_high_q;

  // The current one.
  logic active_q;
  logic [31:0] low_q, high_q, base_q, address_q;
  logic [31:0] tiles_q, tiles_left_q;
  logic [15:0] output_tiles_q, output_tiles_left_q, rows_left_q, block_rows_q;
  logic [ROW_BITS:0] tile_rows_q;
  logic unsigned_q;
  logic signed [8:0] zero_point_q;
  logic [26:0] common_q;

  // The current step.
  logic in_record_q;
  logic [7:0] row_q;
  logic [WEIGHT_PORT_ROWS-1:0] request_q;

  // Rings.
  logic [SLOTS-1:0] slot_busy_q;
  logic [ROW_BITS:0] slot_rows_q [SLOTS];
  logic [SLOT_BITS-1:0] fill_slot_q, launch_slot_q;
  logic [7:0] loaded_q, launched_q;
  logic [RECORD_BITS-1:0] record_q;
  logic [RECORD_BITS:0] records_used_q;

  logic can, live, step_done, unit_done, command_done, load_next;
  logic [WEIGHT_PORT_ROWS-1:0] granted, outside;
  logic [7:0] words, left;

  assign command_ready_o = !next_valid_q;

  assign can = in_record_q ? records_used_q != (RECORD_BITS+1)'(RECORDS) : !slot_busy_q[fill_slot_q];
  assign live = active_q && can && !hold_i;
  always_comb begin
    for (int unsigned w = 0; w < WEIGHT_PORT_ROWS; w++) begin
      read_address_o[w] = address_q + w;
      outside[w] = live && request_q[w] && (read_address_o[w] < low_q || read_address_o[w] >= high_q);
      read_valid_o[w] = live && request_q[w] && !outside[w];
    end
  end
  always_comb begin
    for (int unsigned w = 0; w < WEIGHT_PORT_ROWS; w++) granted[w] = read_valid_o[w] && read_grant_i[w];
  end
  assign error_o = |outside;
  always_comb begin
    error_address_o = read_address_o[0];
    for (int unsigned w = 0; w < WEIGHT_PORT_ROWS; w++) begin
      if (outside[WEIGHT_PORT_ROWS-1-w]) error_address_o = read_address_o[WEIGHT_PORT_ROWS-1-w];
    end
  end
  assign step_done = live && request_q == granted;
  assign refused_o = live && request_q != granted;

  assign words = in_record_q ? 8'(RECORD_WORDS) : 8'(tile_rows_q);
  assign left = words - row_q;                            // of the unit, this step included
  assign unit_done = left <= PORTS;
  assign command_done = step_done && unit_done && !in_record_q && tiles_left_q == 32'd1
                        && output_tiles_left_q == 16'd1 && rows_left_q <= block_rows_q;
  assign load_next = next_valid_q && !hold_i && (!active_q || command_done);

  assign launch_o = !hold_i && loaded_q != launched_q && (launched_q - streamed_i) < 8'd2;
  assign launch_slot_o = launch_slot_q;
  assign launch_set_o = launched_q[0];
  assign launch_rows_o = slot_rows_q[launch_slot_q];
  assign launched_o = launched_q;

  // Reduction tiles of an output tile; packed: the number of groups of `segments` kernel rows.
  logic [31:0] next_tiles;
  always_comb begin
    if (next_q.flags[FLAG_PACKED]) begin
      unique case (next_q.segments)
        8'd2: next_tiles = (32'(next_q.kernel_height) + 32'd1) >> 1;
        8'd3: next_tiles = (32'(next_q.kernel_height) + 32'd2) / 32'd3;
        8'd4: next_tiles = (32'(next_q.kernel_height) + 32'd3) >> 2;
        default: next_tiles = 32'(next_q.kernel_height);
      endcase
    end else begin
      next_tiles = 32'(next_q.kernel_height) * 32'(next_q.kernel_width) * 32'(next_q.input_tiles);
    end
  end

  function automatic logic [WEIGHT_PORT_ROWS-1:0] ports_of(logic [7:0] count);
    logic [WEIGHT_PORT_ROWS-1:0] ports;
    for (int unsigned w = 0; w < WEIGHT_PORT_ROWS; w++) ports[w] = 8'(w) < count;
    return ports;
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      next_valid_q <= 1'b0;
      active_q <= 1'b0;
      slot_busy_q <= '0;
      fill_slot_q <= '0;
      launch_slot_q <= '0;
      loaded_q <= '0;
      launched_q <= '0;
      record_q <= '0;
      records_used_q <= '0;
    end else if (!hold_i) begin
      if (command_valid_i && command_ready_o) begin
        next_valid_q <= 1'b1;
        next_q <= command_i;
        next_low_q <= window_low_i;
        next_high_q <= window_high_i;
      end else if (load_next) begin
        next_valid_q <= 1'b0;
      end

      if (load_next) begin
        active_q <= 1'b1;
        low_q <= next_low_q;
        high_q <= next_high_q;
        base_q <= next_q.parameter_address;
        address_q <= next_q.parameter_address;
        tiles_q <= next_tiles;
        tiles_left_q <= next_tiles;
        output_tiles_q <= next_q.output_tiles;
        output_tiles_left_q <= next_q.output_tiles;
        rows_left_q <= next_q.output_height;
        block_rows_q <= next_q.block_rows;
        tile_rows_q <= next_q.tile_rows[ROW_BITS:0];
        unsigned_q <= next_q.flags[FLAG_WEIGHT_UNSIGNED];
        zero_point_q <= next_q.weight_zero_point[8:0];
        common_q <= {next_q.output_zero_point[8:0], next_q.clamp_min[8:0], next_q.clamp_max[8:0]};
        in_record_q <= 1'b1;
        row_q <= '0;
        request_q <= ports_of(8'(RECORD_WORDS));
      end else if (step_done) begin
        address_q <= address_q + (unit_done ? 32'(left) : 32'(PORTS));
        row_q <= unit_done ? 8'd0 : row_q + PORTS;
        request_q <= '1;
        if (!unit_done) begin
          request_q <= ports_of(left - PORTS);
        end else if (in_record_q) begin
          in_record_q <= 1'b0;
        end else if (tiles_left_q != 32'd1) begin
          tiles_left_q <= tiles_left_q - 32'd1;
        end else begin
          in_record_q <= 1'b1;
          tiles_left_q <= tiles_q;
          request_q <= ports_of(8'(RECORD_WORDS));
          if (output_tiles_left_q != 16'd1) begin
            output_tiles_left_q <= output_tiles_left_q - 16'd1;
          end else begin
            output_tiles_left_q <= output_tiles_q;
            rows_left_q <= rows_left_q - block_rows_q;
            address_q <= base_q;
            if (command_done) active_q <= 1'b0;
          end
        end
      end else if (live) begin
        request_q <= request_q & ~granted;
      end

      if (step_done && unit_done && in_record_q) record_q <= record_q + RECORD_BITS'(1);
      records_used_q <= records_used_q + (RECORD_BITS+1)'(step_done && unit_done && in_record_q)
                        - (RECORD_BITS+1)'(record_done_i);
      slot_busy_q <= slot_busy_q & ~slot_done_i;
      if (step_done && unit_done && !in_record_q) begin
        slot_busy_q[fill_slot_q] <= 1'b1;
        slot_rows_q[fill_slot_q] <= tile_rows_q;
        fill_slot_q <= fill_slot_q == SLOT_BITS'(SLOTS - 1) ? '0 : fill_slot_q + SLOT_BITS'(1);
        loaded_q <= loaded_q + 8'd1;
      end
      if (launch_o) begin
        launched_q <= launched_q + 8'd1;
        launch_slot_q <= launch_slot_q == SLOT_BITS'(SLOTS - 1) ? '0 : launch_slot_q + SLOT_BITS'(1);
      end
    end
  end

  // What was granted arrives in the next cycle.
  always_ff @(posedge clk_i) begin
    fill_valid_o <= rst_ni && !in_record_q ? granted : '0;
    record_valid_o <= rst_ni && in_record_q ? granted : '0;
    if (live) begin
      fill_slot_o <= fill_slot_q;
      fill_row_o <= row_q[ROW_BITS-1:0];
      fill_unsigned_o <= unsigned_q;
      fill_zero_point_o <= zero_point_q;
      record_o <= record_q;
      record_index_o <= row_q[3:0];
      record_common_o <= common_q;
    end
  end

endmodule
