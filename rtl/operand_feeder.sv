// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// Walks a command's output: block of rows, output tile, reduction tile (ky, kx, input tile), row, column, and reads the
// operand vector of each; one vector a cycle. Addresses and coordinates are sums: each loop adds its step, products are
// formed once a command, while it waits. Vectors of a weight tile are read once it is launched.
//
// A tiled map needs one word a vector, from port 0. A packed one needs up to four segments of segment_bytes bytes, each
// from two words (segment s: ports 2s and 2s + 1). Padding needs none: its lanes are masked. A vector is done when all its
// words were granted; those that came before the last are kept. One cycle later the bytes are put in their lanes, and
// the next cycle they leave with a tag for the other end of the array:
//   {last vector of the command, of the output tile, last reduction tile, first reduction tile, record, accumulator (16
//   bits), address of the output word (32; checked here, when the vector is read)}.
module operand_feeder
  import systole_pkg::*;
#(
  parameter int unsigned ROWS = 16,
  parameter int unsigned COLUMNS = 16,
  parameter int unsigned PORTS = 12,
  parameter int unsigned RECORDS = 8,
  localparam int unsigned WORD = 8 * COLUMNS,
  localparam int unsigned FEEDER_PORTS = 8,
  localparam int unsigned ROW_BITS = $clog2(ROWS),
  localparam int unsigned BYTE_BITS = $clog2(COLUMNS),
  localparam int unsigned RECORD_BITS = $clog2(RECORDS),
  localparam int unsigned TAG = 52 + RECORD_BITS
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                hold_i,
  // a command
  input  logic                command_valid_i,
  input  window_command_t     command_i,
  input  logic [31:0]         input_low_i,
  input  logic [31:0]         input_high_i,
  input  logic [31:0]         output_low_i,
  input  logic [31:0]         output_high_i,
  output logic                command_ready_o,
  // memory; of the data the first eight ports count
  output logic                read_valid_o   [FEEDER_PORTS],
  output logic [31:0]         read_address_o [FEEDER_PORTS],
  input  logic                read_grant_i   [FEEDER_PORTS],
  input  logic [WORD-1:0]     read_data_i    [PORTS],
  output logic                refused_o,
  // tiles modulo 256: launched by the loader, read to their end
  input  logic [7:0]          launched_i,
  output logic [7:0]          streamed_o,
  // operands
  output logic                valid_o,
  output logic                set_o,
  output logic [8*ROWS-1:0]   word_o,
  output logic [ROWS-1:0]     mask_o,
  output logic                unsigned_o,
  output logic signed [8:0]   zero_point_o,
  output logic [TAG-1:0]      tag_o,
  // an address left its window
  output logic                error_o,
  output logic [31:0]         error_address_o
);

  // ---- The command after the current one and its products.
  logic next_valid_q, next_ready_q;
  window_command_t next_q;
  logic [31:0] next_input_low_q, next_input_high_q, next_output_low_q, next_output_high_q;
  logic [31:0] next_row_step_q, next_segment_row_step_q, next_row_bytes_q, next_origin_q;
  logic signed [47:0] next_x_step_q, next_tap_x_step_q, next_origin_x_q;

  // ---- The current one.
  logic active_q, packed_q, unsigned_q;
  logic signed [8:0] zero_point_q;
  logic [31:0] input_low_q, input_high_q, output_low_q, output_high_q;
  logic [31:0] row_step_q, segment_row_step_q, tap_row_step_q, tile_step_q, row_bytes_q;
  logic signed [47:0] x_step_q, tap_x_step_q, origin_x_q;
  logic [31:0] output_row_step_q, output_tile_step_q, output_pixel_step_q;
  logic signed [31:0] height_q, width_q, stride_y_q, stride_x_q, dilation_y_q, tap_y_step_q, dilation_x_q, first_x_q;
  logic [15:0] input_tiles_q, output_tiles_q, output_width_q, block_rows_q;
  logic [7:0] kernel_height_q, kernel_width_q, kernel_rows_q;
  logic [7:0] segments_q, segment_bytes_q;
  logic [ROWS-1:0] tile_mask_q;

  // ---- The walk. Lefts count the current one.
  logic [15:0] rows_left_q, rows_q;                       // of the command, this block included; of the block
  logic [15:0] output_tiles_left_q, input_tiles_left_q, row_left_q, column_left_q;
  logic [7:0] kernel_rows_left_q, kernel_columns_left_q;
  logic [31:0] block_address_q, tap_address_q, tile_address_q, row_offset_q; // input words
  logic signed [31:0] block_y_q, tap_y_q, row_y_q;        // input row of the block's first row and tap; + tap; offset of the row
  logic signed [47:0] tap_offset_q, offset_q;             // input words (packed: bytes) from column 0: tap, current
  logic signed [31:0] tap_x_q, x_q;
  logic [31:0] block_output_q, tile_output_q, output_row_offset_q, output_q;
  logic first_q;                                          // the output tile's first reduction tile
  logic [15:0] index_q;
  logic [RECORD_BITS-1:0] record_q;
  logic [7:0] tile_q;
  logic [FEEDER_PORTS-1:0] got_q;                         // words of the vector that came before

  assign command_ready_o = !next_valid_q;
  assign streamed_o = tile_q;

  // ---- The current vector's words.
  logic live, done, last, last_column, last_row, last_input_tile, last_kernel_column, last_kernel_row;
  logic last_output_tile, last_block, command_done, load_next;
  logic [FEEDER_PORTS-1:0] need, outstanding, granted, outside;
  logic output_outside;
  logic [ROWS-1:0] mask;
  logic [31:0] row_address;
  logic signed [31:0] y;
  logic [31:0] word_index;
  logic [7:0] first_byte, end_byte;                       // valid bytes of a segment
  logic signed [47:0] bytes_right;                        // from the segment's first to the row's end

  // 2^count - 1: the lowest `count` lanes.
  function automatic logic [ROWS-1:0] lowest(logic [7:0] count);
    return count >= 8'(ROWS) ? '1 : ~({ROWS{1'b1}} << count[ROW_BITS-1:0]);
  endfunction

  assign row_address = tile_address_q + row_offset_q;
  assign y = tap_y_q + row_y_q;
  assign word_index = 32'(offset_q >>> BYTE_BITS);
  assign bytes_right = 48'(signed'({1'b0, row_bytes_q})) - offset_q;

  always_comb begin
    automatic logic [31:0] segment_address = row_address + word_index;
    automatic logic signed [31:0] segment_y = y;
    automatic logic [7:0] lane = 8'd0;
    need = '0;
    mask = '0;
    first_byte = 8'd0;
    end_byte = 8'd0;
    for (int unsigned p = 0; p < FEEDER_PORTS; p++) read_address_o[p] = 32'd0;
    if (!packed_q) begin
      need[0] = y >= 0 && y < height_q && x_q >= 0 && x_q < width_q;
      mask = need[0] ? tile_mask_q : '0;
      read_address_o[0] = row_address + offset_q[31:0];
    end else if (offset_q > -48'sd64 && bytes_right > 0) begin
      first_byte = offset_q < 0 ? 8'(-offset_q) : 8'd0;
      end_byte = bytes_right < 48'(segment_bytes_q) ? bytes_right[7:0] : segment_bytes_q;
      if (first_byte < end_byte) begin
        for (int unsigned s = 0; s < 4; s++) begin
          if (8'(s) < segments_q && 8'(s) < kernel_rows_left_q && segment_y >= 0 && segment_y < height_q) begin
            need[2*s] = 8'(offset_q[BYTE_BITS-1:0]) + first_byte < 8'(COLUMNS);
            need[2*s+1] = 8'(offset_q[BYTE_BITS-1:0]) + end_byte > 8'(COLUMNS);
            mask |= (lowest(end_byte) & ~lowest(first_byte)) << lane[ROW_BITS-1:0];
          end
          read_address_o[2*s] = segment_address;
          read_address_o[2*s+1] = segment_address + 32'd1;
          segment_address += segment_row_step_q;
          segment_y += dilation_y_q;
          lane += segment_bytes_q;
        end
      end
    end
  end

  assign live = active_q && tile_q != launched_i && !hold_i;
  assign outstanding = need & ~got_q;
  always_comb begin
    for (int unsigned p = 0; p < FEEDER_PORTS; p++) begin
      outside[p] = live && outstanding[p] && (read_address_o[p] < input_low_q || read_address_o[p] >= input_high_q);
      read_valid_o[p] = live && outstanding[p] && !outside[p];
    end
  end
  always_comb begin
    for (int unsigned p = 0; p < FEEDER_PORTS; p++) granted[p] = read_valid_o[p] && read_grant_i[p];
  end
  assign output_outside = live && last && (output_q < output_low_q || output_q >= output_high_q);
  assign error_o = |outside || output_outside;
  always_comb begin
    error_address_o = output_q;
    for (int unsigned p = 0; p < FEEDER_PORTS; p++) begin
      if (outside[FEEDER_PORTS-1-p]) error_address_o = read_address_o[FEEDER_PORTS-1-p];
    end
  end
  assign done = live && outstanding == granted && !output_outside;
  assign refused_o = live && outstanding != granted;

  assign last_column = column_left_q == 16'd1;
  assign last_row = row_left_q == 16'd1;
  assign last_input_tile = input_tiles_left_q == 16'd1;
  assign last_kernel_column = kernel_columns_left_q == 8'd1;
  assign last_kernel_row = kernel_rows_left_q <= kernel_rows_q;
  assign last = last_input_tile && last_kernel_column && last_kernel_row;
  assign last_output_tile = output_tiles_left_q == 16'd1;
  assign last_block = rows_left_q == rows_q;
  assign command_done = done && last_column && last_row && last && last_output_tile && last_block;
  assign load_next = next_ready_q && !hold_i && (!active_q || command_done);

  logic next_packed;
  logic [7:0] next_kernel_rows;                           // of one reduction tile
  logic [15:0] next_first_rows;
  assign next_packed = next_q.flags[FLAG_PACKED];
  assign next_kernel_rows = next_packed ? next_q.segments : 8'd1;
  assign next_first_rows = next_q.output_height < next_q.block_rows ? next_q.output_height : next_q.block_rows;

  // ---- Products of the next command.
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      next_valid_q <= 1'b0;
      next_ready_q <= 1'b0;
    end else if (!hold_i) begin
      if (command_valid_i && command_ready_o) begin
        next_valid_q <= 1'b1;
        next_q <= command_i;
        next_input_low_q <= input_low_i;
        next_input_high_q <= input_high_i;
        next_output_low_q <= output_low_i;
        next_output_high_q <= output_high_i;
      end
      if (next_valid_q && !next_ready_q) begin
        next_ready_q <= 1'b1;
        next_row_step_q <= 32'(next_q.stride_y) * next_q.input_row_stride;
        next_segment_row_step_q <= 32'(next_q.dilation_y) * next_q.input_row_stride;
        next_row_bytes_q <= 32'(next_q.input_width) * 32'(next_q.input_pixel_stride);
        next_origin_q <= next_q.input_address + unsigned'(32'(next_q.origin_y)) * next_q.input_row_stride;
        next_x_step_q <= 48'(next_q.stride_x) * 48'(next_q.input_pixel_stride);
        next_tap_x_step_q <= 48'(next_q.dilation_x) * 48'(next_q.input_pixel_stride);
        next_origin_x_q <= 48'(next_q.origin_x) * 48'(signed'({1'b0, next_q.input_pixel_stride}));
      end
      if (load_next) begin
        next_valid_q <= 1'b0;
        next_ready_q <= 1'b0;
      end
    end
  end

  // ---- The walk.
  logic [15:0] rows_after, next_rows;
  assign rows_after = rows_left_q - rows_q;
  assign next_rows = rows_after < block_rows_q ? rows_after : block_rows_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q <= 1'b0;
      got_q <= '0;
      record_q <= '0;
      tile_q <= '0;
    end else if (!hold_i) begin
      if (done) begin
        got_q <= '0;
        index_q <= index_q + 16'd1;
        column_left_q <= column_left_q - 16'd1;
        offset_q <= offset_q + x_step_q;
        x_q <= x_q + stride_x_q;
        output_q <= output_q + output_pixel_step_q;
        if (last_column) begin
          column_left_q <= output_width_q;
          offset_q <= tap_offset_q;
          x_q <= tap_x_q;
          row_left_q <= row_left_q - 16'd1;
          row_offset_q <= row_offset_q + row_step_q;
          row_y_q <= row_y_q + stride_y_q;
          output_row_offset_q <= output_row_offset_q + output_row_step_q;
          output_q <= tile_output_q + output_row_offset_q + output_row_step_q;
          if (last_row) begin                             // next reduction tile
            tile_q <= tile_q + 8'd1;
            index_q <= 16'd0;
            first_q <= 1'b0;
            row_left_q <= rows_q;
            row_offset_q <= 32'd0;
            row_y_q <= 32'd0;
            output_row_offset_q <= 32'd0;
            output_q <= tile_output_q;
            input_tiles_left_q <= input_tiles_left_q - 16'd1;
            tile_address_q <= tile_address_q + tile_step_q;
            if (last_input_tile) begin                    // next tap
              input_tiles_left_q <= input_tiles_q;
              tile_address_q <= tap_address_q;
              kernel_columns_left_q <= kernel_columns_left_q - 8'd1;
              tap_offset_q <= tap_offset_q + tap_x_step_q;
              offset_q <= tap_offset_q + tap_x_step_q;
              tap_x_q <= tap_x_q + dilation_x_q;
              x_q <= tap_x_q + dilation_x_q;
              if (last_kernel_column) begin
                kernel_columns_left_q <= kernel_width_q;
                tap_offset_q <= origin_x_q;
                offset_q <= origin_x_q;
                tap_x_q <= first_x_q;
                x_q <= first_x_q;
                kernel_rows_left_q <= kernel_rows_left_q - kernel_rows_q;
                tap_address_q <= tap_address_q + tap_row_step_q;
                tile_address_q <= tap_address_q + tap_row_step_q;
                tap_y_q <= tap_y_q + tap_y_step_q;
                if (last_kernel_row) begin                // next output tile
                  kernel_rows_left_q <= kernel_height_q;
                  tap_address_q <= block_address_q;
                  tile_address_q <= block_address_q;
                  tap_y_q <= block_y_q;
                  first_q <= 1'b1;
                  record_q <= record_q + RECORD_BITS'(1);
                  output_tiles_left_q <= output_tiles_left_q - 16'd1;
                  tile_output_q <= tile_output_q + output_tile_step_q;
                  output_q <= tile_output_q + output_tile_step_q;
                  if (last_output_tile) begin             // next block
                    output_tiles_left_q <= output_tiles_q;
                    rows_left_q <= rows_after;
                    rows_q <= next_rows;
                    row_left_q <= next_rows;
                    block_address_q <= block_address_q + row_offset_q + row_step_q;
                    tap_address_q <= block_address_q + row_offset_q + row_step_q;
                    tile_address_q <= block_address_q + row_offset_q + row_step_q;
                    block_y_q <= block_y_q + row_y_q + stride_y_q;
                    tap_y_q <= block_y_q + row_y_q + stride_y_q;
                    block_output_q <= block_output_q + output_row_offset_q + output_row_step_q;
                    tile_output_q <= block_output_q + output_row_offset_q + output_row_step_q;
                    output_q <= block_output_q + output_row_offset_q + output_row_step_q;
                    if (last_block) active_q <= 1'b0;
                  end
                end
              end
            end
          end
        end
      end else if (live) begin
        got_q <= got_q | granted;
      end

      if (load_next) begin
        active_q <= 1'b1;
        packed_q <= next_packed;
        unsigned_q <= next_q.flags[FLAG_INPUT_UNSIGNED];
        zero_point_q <= next_q.input_zero_point[8:0];
        input_low_q <= next_input_low_q;
        input_high_q <= next_input_high_q;
        output_low_q <= next_output_low_q;
        output_high_q <= next_output_high_q;
        row_step_q <= next_row_step_q;
        segment_row_step_q <= next_segment_row_step_q;
        tap_row_step_q <= next_segment_row_step_q * 32'(next_kernel_rows);
        tile_step_q <= next_q.input_tile_stride;
        row_bytes_q <= next_row_bytes_q;
        x_step_q <= next_x_step_q;
        tap_x_step_q <= next_tap_x_step_q;
        origin_x_q <= next_origin_x_q;
        output_row_step_q <= next_q.output_row_stride;
        output_tile_step_q <= next_q.output_tile_stride;
        output_pixel_step_q <= 32'(next_q.output_pixel_stride);
        height_q <= 32'(next_q.input_height);
        width_q <= 32'(next_q.input_width);
        stride_y_q <= 32'(next_q.stride_y);
        stride_x_q <= 32'(next_q.stride_x);
        dilation_y_q <= 32'(next_q.dilation_y);
        tap_y_step_q <= 32'(next_q.dilation_y) * 32'(next_kernel_rows);
        dilation_x_q <= 32'(next_q.dilation_x);
        first_x_q <= 32'(next_q.origin_x);
        input_tiles_q <= next_packed ? 16'd1 : next_q.input_tiles;
        output_tiles_q <= next_q.output_tiles;
        output_width_q <= next_q.output_width;
        block_rows_q <= next_q.block_rows;
        kernel_height_q <= next_q.kernel_height;
        kernel_width_q <= next_packed ? 8'd1 : next_q.kernel_width;
        kernel_rows_q <= next_kernel_rows;
        segments_q <= next_q.segments;
        segment_bytes_q <= next_q.segment_bytes;
        tile_mask_q <= lowest(next_q.tile_rows[7:0]);

        rows_left_q <= next_q.output_height;
        rows_q <= next_first_rows;
        row_left_q <= next_first_rows;
        output_tiles_left_q <= next_q.output_tiles;
        input_tiles_left_q <= next_packed ? 16'd1 : next_q.input_tiles;
        column_left_q <= next_q.output_width;
        kernel_rows_left_q <= next_q.kernel_height;
        kernel_columns_left_q <= next_packed ? 8'd1 : next_q.kernel_width;
        block_address_q <= next_origin_q;
        tap_address_q <= next_origin_q;
        tile_address_q <= next_origin_q;
        row_offset_q <= 32'd0;
        block_y_q <= 32'(next_q.origin_y);
        tap_y_q <= 32'(next_q.origin_y);
        row_y_q <= 32'd0;
        tap_offset_q <= next_origin_x_q;
        offset_q <= next_origin_x_q;
        tap_x_q <= 32'(next_q.origin_x);
        x_q <= 32'(next_q.origin_x);
        block_output_q <= next_q.output_address;
        tile_output_q <= next_q.output_address;
        output_row_offset_q <= 32'd0;
        output_q <= next_q.output_address;
        first_q <= 1'b1;
        index_q <= 16'd0;
      end
    end
  end

  // ---- The words arrive: bytes into lanes.
  logic arriving_q, arriving_packed_q, arriving_unsigned_q, arriving_set_q;
  logic signed [8:0] arriving_zero_point_q;
  logic [FEEDER_PORTS-1:0] arriving_ports_q;
  logic [ROWS-1:0] arriving_mask_q;
  logic [BYTE_BITS-1:0] arriving_byte_q;                  // of the segments' first byte in its word
  logic [7:0] arriving_segment_bytes_q;
  logic [TAG-1:0] arriving_tag_q;
  logic [WORD-1:0] kept [FEEDER_PORTS];                   // private to the block, as is:
  logic [8*ROWS-1:0] packed_word;

  // State private to the block: blocking assignments in rolled loops are quick in simulation (docs/rtl.md).
  /* verilator lint_off BLKSEQ */
  always_ff @(posedge clk_i) begin : arrive
    if (!rst_ni) begin
      arriving_q <= 1'b0;
      arriving_ports_q <= '0;
      valid_o <= 1'b0;
    end else if (!hold_i) begin
      arriving_q <= done;
      arriving_ports_q <= granted;
      if (done) begin
        arriving_packed_q <= packed_q;
        arriving_unsigned_q <= unsigned_q;
        arriving_zero_point_q <= zero_point_q;
        arriving_set_q <= tile_q[0];
        arriving_mask_q <= mask;
        arriving_byte_q <= offset_q[BYTE_BITS-1:0];
        arriving_segment_bytes_q <= segment_bytes_q;
        arriving_tag_q <= {last && last_output_tile && last_block && last_row && last_column,
                           last && last_row && last_column, last, first_q, record_q, index_q, output_q};
      end
      valid_o <= arriving_q;
      if (arriving_q) begin
        set_o <= arriving_set_q;
        mask_o <= arriving_mask_q;
        unsigned_o <= arriving_unsigned_q;
        zero_point_o <= arriving_zero_point_q;
        tag_o <= arriving_tag_q;
        if (!arriving_packed_q) begin
          word_o <= read_data_i[0];
        end else begin
          // Lane l is byte l % segment_bytes of segment l / segment_bytes.
          automatic logic [7:0] at = 8'd0;
          automatic logic [1:0] segment = 2'd0;
          automatic logic [7:0] source = 8'd0;
          automatic logic [2:0] port = 3'd0;
          for (int unsigned l = 0; l < ROWS; l++) begin
            source = at + 8'(arriving_byte_q);
            port = {segment, source >= 8'(COLUMNS)};
            packed_word[8*l+:8] = arriving_ports_q[port] ? read_data_i[($clog2(PORTS))'(port)][8*source[BYTE_BITS-1:0]+:8]
                                                         : kept[port][8*source[BYTE_BITS-1:0]+:8];
            at = at + 8'd1;
            if (at == arriving_segment_bytes_q) begin
              at = 8'd0;
              segment = segment + 2'd1;
            end
          end
          word_o <= packed_word;
        end
      end
      if (packed_q) begin
        for (int unsigned p = 0; p < FEEDER_PORTS; p++) begin
          if (arriving_ports_q[p]) kept[p] = read_data_i[p];
        end
      end
    end
  end
  /* verilator lint_on BLKSEQ */

endmodule
