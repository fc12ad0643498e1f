// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// Walks a window command: for each tile, output row and output column the taps k = ky*kernel_width + kx in groups of
// TAPS. Each cycle it shows one group: which of its taps are inside the input, their addresses, and where the group stands
// in its word, tile and command. group_ready_i takes it.
//
// Nothing is multiplied from one group to the next. A lane j of the group keeps the offset of its tap from the window's corner as
// column, row and address; TAPS taps further is a constant step, and one subtraction when the column leaves the kernel. The
// constants are made once a command, behind the command that is being walked: four products and a short
// walk over the first TAPS + 1 taps, one a cycle. The next command then starts without a gap.
//
// Windows side by side overlap: tap (ky, kx) of a word is tap (ky, kx + stride_x) of the word before in its row. Kernels of
// up to KEPT taps and dilation_x 1 have these marked as reused: the datapath has kept them, memory is not asked.
module window_walker
  import systole_pkg::*;
#(
  parameter int unsigned TAPS = 3,
  parameter int unsigned CONTEXT = 2,                    // bits that name a command inside the unit
  parameter int unsigned KEPT = 32                       // taps of a word that the datapath keeps
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                enable_i,                  // low: frozen

  input  logic                command_valid_i,
  input  window_command_t     command_i,
  input  logic [31:0]         input_low_i,
  input  logic [31:0]         input_high_i,
  input  logic [31:0]         output_low_i,
  input  logic [31:0]         output_high_i,
  input  logic [CONTEXT-1:0]  context_i,
  output logic                command_ready_o,

  output logic                group_valid_o,
  output logic                tap_valid_o    [TAPS],     // inside the kernel and the input: to be read
  output logic                tap_reused_o   [TAPS],     // valid, but not to be read: the datapath has it
  output logic [31:0]         tap_address_o  [TAPS],
  output logic                keeps_o,                   // words of this command reuse taps
  output logic [7:0]          stride_x_o,                // how many taps further in the word before
  output logic [7:0]          group_index_o,             // in its word; wraps
  output logic                word_first_o,              // first group of a word
  output logic                word_last_o,               // last group of a word
  output logic                tile_last_o,               // last group of a tile
  output logic                command_last_o,            // last group of the command
  output logic [31:0]         output_address_o,          // of the group's word
  output logic                depthwise_o,               // the opcode: this tile has parameters
  output logic [CONTEXT-1:0]  context_o,
  output logic                outside_o,                 // an access of the group is outside its window
  output logic [31:0]         outside_address_o,
  input  logic                group_ready_i
);

  logic unused_command;
  assign unused_command = ^command_i;

  // ---- The next command: accepted, then made ready in TAPS + 2 cycles.

  localparam int unsigned Steps = $clog2(TAPS + 3);
  localparam int unsigned Lane = TAPS > 1 ? $clog2(TAPS) : 1;

  logic next_valid_q, next_ready_q;
  logic [Steps-1:0] setup_q;                              // 0: products; k + 1: tap k
  logic [31:0] next_base_q, next_output_q;
  logic [31:0] next_row_stride_q, next_tile_stride_q;
  logic [15:0] next_pixel_stride_q, next_input_height_q, next_input_width_q;
  logic [31:0] next_output_row_stride_q, next_output_tile_stride_q;
  logic [15:0] next_output_pixel_stride_q, next_height_q, next_width_q, next_tiles_q;
  logic signed [15:0] next_origin_y_q, next_origin_x_q;
  logic [7:0] next_kernel_height_q, next_kernel_width_q, next_stride_y_q, next_stride_x_q;
  logic [7:0] next_dilation_y_q, next_dilation_x_q;
  logic [31:0] next_input_low_q, next_input_high_q, next_output_low_q, next_output_high_q;
  logic [CONTEXT-1:0] next_context_q;
  logic next_depthwise_q, next_keeps_q;

  // What set-up makes. span: kernel times dilation. tap_*: from a tap to the next in its row, to the next row.
  logic [15:0] next_span_y_q, next_span_x_q;
  logic [31:0] next_pixel_step_q, next_row_step_q, tap_column_q, tap_row_q, next_wrap_address_q;
  logic [31:0] tap_x_q, tap_y_q, tap_address_q, tap_row_address_q;
  logic [31:0] start_x_q [TAPS];
  logic [31:0] start_y_q [TAPS];
  logic [31:0] start_address_q [TAPS];

  logic promote;                                          // the next command becomes the current one
  logic command_taken, setup_last, tap_wraps;

  assign command_ready_o = !next_valid_q;
  assign command_taken = command_valid_i && command_ready_o;
  assign setup_last = setup_q == Steps'(TAPS + 1);
  assign tap_wraps = tap_x_q + 32'(next_dilation_x_q) == 32'(next_span_x_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      next_valid_q <= 1'b0;
      next_ready_q <= 1'b0;
    end else if (enable_i) begin
      if (command_taken) begin
        next_valid_q <= 1'b1;
        next_ready_q <= 1'b0;
        setup_q <= '0;
        next_base_q <= command_i.input_address;
        next_output_q <= command_i.output_address;
        next_row_stride_q <= command_i.input_row_stride;
        next_tile_stride_q <= command_i.input_tile_stride;
        next_pixel_stride_q <= command_i.input_pixel_stride;
        next_input_height_q <= command_i.input_height;
        next_input_width_q <= command_i.input_width;
        next_output_row_stride_q <= command_i.output_row_stride;
        next_output_tile_stride_q <= command_i.output_tile_stride;
        next_output_pixel_stride_q <= command_i.output_pixel_stride;
        next_height_q <= command_i.output_height;
        next_width_q <= command_i.output_width;
        next_tiles_q <= command_i.output_tiles;
        next_origin_y_q <= command_i.origin_y;
        next_origin_x_q <= command_i.origin_x;
        next_kernel_height_q <= command_i.kernel_height;
        next_kernel_width_q <= command_i.kernel_width;
        next_stride_y_q <= command_i.stride_y;
        next_stride_x_q <= command_i.stride_x;
        next_dilation_y_q <= command_i.dilation_y;
        next_dilation_x_q <= command_i.dilation_x;
        next_input_low_q <= input_low_i;
        next_input_high_q <= input_high_i;
        next_output_low_q <= output_low_i;
        next_output_high_q <= output_high_i;
        next_context_q <= context_i;
        next_depthwise_q <= command_i.opcode == OPCODE_DEPTHWISE;
      end else if (promote) begin
        next_valid_q <= 1'b0;
        next_ready_q <= 1'b0;
      end else if (next_valid_q && !next_ready_q) begin
        setup_q <= setup_q + Steps'(1);
        next_ready_q <= setup_last;
        if (setup_q == '0) begin
          // Modulo 2^32 a negative origin is right, too.
          next_base_q <= next_base_q + unsigned'(32'(next_origin_y_q)) * next_row_stride_q
                         + unsigned'(32'(next_origin_x_q)) * 32'(next_pixel_stride_q);
          next_row_step_q <= 32'(next_stride_y_q) * next_row_stride_q;
          next_pixel_step_q <= 32'(next_stride_x_q) * 32'(next_pixel_stride_q);
          tap_row_q <= 32'(next_dilation_y_q) * next_row_stride_q;
          tap_column_q <= 32'(next_dilation_x_q) * 32'(next_pixel_stride_q);
          next_span_y_q <= 16'(next_kernel_height_q) * 16'(next_dilation_y_q);
          next_span_x_q <= 16'(next_kernel_width_q) * 16'(next_dilation_x_q);
          next_keeps_q <= next_dilation_x_q == 8'd1 && next_stride_x_q < next_kernel_width_q
                          && 16'(next_kernel_height_q) * 16'(next_kernel_width_q) <= 16'(KEPT);
          tap_x_q <= '0;
          tap_y_q <= '0;
          tap_address_q <= '0;
          tap_row_address_q <= '0;
        end else begin
          if (!setup_last) begin
            start_x_q[Lane'(setup_q - Steps'(1))] <= tap_x_q;
            start_y_q[Lane'(setup_q - Steps'(1))] <= tap_y_q;
            start_address_q[Lane'(setup_q - Steps'(1))] <= tap_address_q;
            tap_x_q <= tap_wraps ? '0 : tap_x_q + 32'(next_dilation_x_q);
            if (tap_wraps) begin
              tap_y_q <= tap_y_q + 32'(next_dilation_y_q);
              tap_row_address_q <= tap_row_address_q + tap_row_q;
            end
            tap_address_q <= tap_wraps ? tap_row_address_q + tap_row_q : tap_address_q + tap_column_q;
          end
          next_wrap_address_q <= tap_row_q - 32'(next_kernel_width_q) * tap_column_q;
        end
      end
    end
  end

  // ---- The current command.

  logic active_q;
  logic [31:0] tile_base_q, row_base_q, pixel_base_q;     // input word under tap 0 of the tile's, row's, word's first window
  logic [31:0] tile_output_q, row_output_q, output_q;
  logic [31:0] y_q, x_q;                                  // input row and column under tap 0
  logic [15:0] tiles_left_q, rows_left_q, columns_left_q; // 0: this is the last
  logic [7:0] group_q;
  logic first_q, row_first_q, keeps_q;                    // row_first: the row's first word
  logic [31:0] lane_x_q [TAPS];
  logic [31:0] lane_y_q [TAPS];
  logic [31:0] lane_address_q [TAPS];
  // Constants of the command.
  logic [31:0] first_x_q [TAPS];
  logic [31:0] first_y_q [TAPS];
  logic [31:0] first_address_q [TAPS];
  logic [31:0] step_x_q, step_y_q, step_address_q, wrap_address_q;
  logic [15:0] span_y_q, span_x_q, input_height_q, input_width_q, height_q, width_q, output_pixel_stride_q;
  logic [7:0] wrap_y_q, stride_y_q, stride_x_q;
  logic [31:0] pixel_step_q, row_step_q, tile_stride_q, output_row_stride_q, output_tile_stride_q;
  logic signed [15:0] origin_y_q, origin_x_q;
  logic [31:0] input_low_q, input_high_q, output_low_q, output_high_q;
  logic [CONTEXT-1:0] context_q;
  logic depthwise_q;

  logic [31:0] lane_x_d [TAPS];
  logic [31:0] lane_y_d [TAPS];
  logic [31:0] lane_address_d [TAPS];
  logic column_last, row_last, tile_last, group_taken;

  assign group_valid_o = active_q;
  assign group_index_o = group_q;
  assign word_first_o = first_q;
  assign output_address_o = output_q;
  assign depthwise_o = depthwise_q;
  assign keeps_o = keeps_q;
  assign stride_x_o = stride_x_q;
  assign context_o = context_q;
  assign group_taken = active_q && group_ready_i;
  assign column_last = columns_left_q == '0;
  assign row_last = rows_left_q == '0;
  assign tile_last = tiles_left_q == '0;
  assign tile_last_o = word_last_o && column_last && row_last;
  assign command_last_o = tile_last_o && tile_last;
  assign promote = next_ready_q && (!active_q || (group_taken && command_last_o));

  always_comb begin
    outside_o = 1'b0;
    outside_address_o = output_q;
    for (int unsigned j = 0; j < TAPS; j++) begin
      automatic logic [31:0] address = pixel_base_q + lane_address_q[j];
      automatic logic needed = lane_y_q[j] < 32'(span_y_q) && y_q + lane_y_q[j] < 32'(input_height_q)
                               && x_q + lane_x_q[j] < 32'(input_width_q);
      tap_valid_o[j] = needed;
      tap_reused_o[j] = needed && keeps_q && !row_first_q && lane_x_q[j] + 32'(stride_x_q) < 32'(span_x_q);
      tap_address_o[j] = address;
      if (needed && !outside_o && (address < input_low_q || address >= input_high_q)) begin
        outside_o = 1'b1;
        outside_address_o = address;
      end
    end
    if (!outside_o && word_last_o && (output_q < output_low_q || output_q >= output_high_q)) outside_o = 1'b1;
  end

  always_comb begin
    for (int unsigned j = 0; j < TAPS; j++) begin
      automatic logic [31:0] x = lane_x_q[j] + step_x_q;
      automatic logic wraps = x >= 32'(span_x_q);
      lane_x_d[j] = wraps ? x - 32'(span_x_q) : x;
      lane_y_d[j] = lane_y_q[j] + step_y_q + (wraps ? 32'(wrap_y_q) : '0);
      lane_address_d[j] = lane_address_q[j] + step_address_q + (wraps ? wrap_address_q : '0);
    end
  end
  assign word_last_o = lane_y_d[0] >= 32'(span_y_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q <= 1'b0;
    end else if (enable_i) begin
      if (promote) begin
        active_q <= 1'b1;
        tile_base_q <= next_base_q;
        row_base_q <= next_base_q;
        pixel_base_q <= next_base_q;
        tile_output_q <= next_output_q;
        row_output_q <= next_output_q;
        output_q <= next_output_q;
        y_q <= unsigned'(32'(next_origin_y_q));
        x_q <= unsigned'(32'(next_origin_x_q));
        tiles_left_q <= next_tiles_q - 16'd1;
        rows_left_q <= next_height_q - 16'd1;
        columns_left_q <= next_width_q - 16'd1;
        group_q <= '0;
        first_q <= 1'b1;
        lane_x_q <= start_x_q;
        lane_y_q <= start_y_q;
        lane_address_q <= start_address_q;
        first_x_q <= start_x_q;
        first_y_q <= start_y_q;
        first_address_q <= start_address_q;
        step_x_q <= tap_x_q;
        step_y_q <= tap_y_q;
        step_address_q <= tap_address_q;
        wrap_address_q <= next_wrap_address_q;
        wrap_y_q <= next_dilation_y_q;
        span_y_q <= next_span_y_q;
        span_x_q <= next_span_x_q;
        input_height_q <= next_input_height_q;
        input_width_q <= next_input_width_q;
        height_q <= next_height_q;
        width_q <= next_width_q;
        stride_y_q <= next_stride_y_q;
        stride_x_q <= next_stride_x_q;
        pixel_step_q <= next_pixel_step_q;
        row_step_q <= next_row_step_q;
        tile_stride_q <= next_tile_stride_q;
        output_pixel_stride_q <= next_output_pixel_stride_q;
        output_row_stride_q <= next_output_row_stride_q;
        output_tile_stride_q <= next_output_tile_stride_q;
        origin_y_q <= next_origin_y_q;
        origin_x_q <= next_origin_x_q;
        input_low_q <= next_input_low_q;
        input_high_q <= next_input_high_q;
        output_low_q <= next_output_low_q;
        output_high_q <= next_output_high_q;
        context_q <= next_context_q;
        depthwise_q <= next_depthwise_q;
        keeps_q <= next_keeps_q;
        row_first_q <= 1'b1;
      end else if (group_taken) begin
        if (!word_last_o) begin
          group_q <= group_q + 8'd1;
          first_q <= 1'b0;
          lane_x_q <= lane_x_d;
          lane_y_q <= lane_y_d;
          lane_address_q <= lane_address_d;
        end else begin
          group_q <= '0;
          first_q <= 1'b1;
          row_first_q <= column_last;
          lane_x_q <= first_x_q;
          lane_y_q <= first_y_q;
          lane_address_q <= first_address_q;
          if (!column_last) begin
            columns_left_q <= columns_left_q - 16'd1;
            pixel_base_q <= pixel_base_q + pixel_step_q;
            x_q <= x_q + 32'(stride_x_q);
            output_q <= output_q + 32'(output_pixel_stride_q);
          end else begin
            columns_left_q <= width_q - 16'd1;
            x_q <= unsigned'(32'(origin_x_q));
            if (!row_last) begin
              rows_left_q <= rows_left_q - 16'd1;
              row_base_q <= row_base_q + row_step_q;
              pixel_base_q <= row_base_q + row_step_q;
              y_q <= y_q + 32'(stride_y_q);
              row_output_q <= row_output_q + output_row_stride_q;
              output_q <= row_output_q + output_row_stride_q;
            end else begin
              rows_left_q <= height_q - 16'd1;
              y_q <= unsigned'(32'(origin_y_q));
              if (!tile_last) begin
                tiles_left_q <= tiles_left_q - 16'd1;
                tile_base_q <= tile_base_q + tile_stride_q;
                row_base_q <= tile_base_q + tile_stride_q;
                pixel_base_q <= tile_base_q + tile_stride_q;
                tile_output_q <= tile_output_q + output_tile_stride_q;
                row_output_q <= tile_output_q + output_tile_stride_q;
                output_q <= tile_output_q + output_tile_stride_q;
              end else begin
                active_q <= 1'b0;
              end
            end
          end
        end
      end
    end
  end

endmodule
