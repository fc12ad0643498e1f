// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// Arithmetic on one or two maps, requantisation, tables: one vector of COLUMNS bytes a cycle, without a gap between rows,
// tiles and commands (TensorFlow Lite reference/integer_ops/add.h, mul.h, reference/prelu.h, requantize.h and others):
//
//   walk -> request -> scratchpad -> operands -> rescale, rescale -> combine -> requantiser -> result_queue -> scratchpad
//
// request holds one vector's two words. If one of their banks was taken it asks again alone; the other word waits in its
// operand register. From the operands on nothing stops: result_queue has a slot for every vector on its way.
// All opcodes take the same way. Where one does not rescale, the multiplier is 2^30 * 2^1 / 2^31 = 1; an operand that it does
// not have is 0. mul and the negative elements of prelu are products of both operands in front of the rescalings. table
// first reads its table through the port of the second input, a word a cycle, as vectors that have no result; they reach the
// table's register in their order, so that commands before and behind need no gap either.
//
// Addresses are sums: each of the three walks has the address of its tile, of its row and of its word. What the arithmetic needs
// of a command is kept in one of four contexts until the command has retired; its number travels with the vector.
module elementwise_unit
  import systole_pkg::*;
#(
  parameter int unsigned COLUMNS = 16,
  localparam int unsigned PORTS = 2,
  localparam int unsigned WORD = 8 * COLUMNS
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            halt_i,                         // frozen, nothing is written; only reset follows
  input  logic            command_valid_i,
  input  logic [1023:0]   command_i,
  input  logic [31:0]     window_low_i  [4],              // input, input2, output, parameters
  input  logic [31:0]     window_high_i [4],
  output logic            command_ready_o,
  output logic            retire_o,
  output logic            busy_o,
  output logic            stalled_o,
  output logic            error_o,
  output logic [7:0]      error_code_o,
  output logic [31:0]     error_detail_o,

  output logic            read_valid_o   [PORTS],
  output logic [31:0]     read_address_o [PORTS],
  input  logic            read_grant_i   [PORTS],
  input  logic [WORD-1:0] read_data_i    [PORTS],
  output logic            write_valid_o,
  output logic [31:0]     write_address_o,
  output logic [WORD-1:0] write_data_o,
  input  logic            write_grant_i
);

  localparam int unsigned Context = 2;
  localparam int unsigned Contexts = 1 << Context;
  localparam int unsigned Slots = 16;                     // request to write is 12 cycles
  localparam int unsigned Slot = $clog2(Slots);
  localparam int unsigned Tag = Context + Slot;
  localparam logic signed [31:0] One = 32'sh4000_0000;    // with a shift of 1
  localparam int unsigned TableWords = 256 / COLUMNS;
  localparam int unsigned TableIndex = $clog2(TableWords);

  logic enable;
  assign enable = !halt_i && !error_o;

  // ---- Commands. The next one waits, as it came, behind the one that is walked.

  elementwise_command_t command;
  logic unused_command;
  typedef enum logic [2:0] {Sum, Difference, Largest, Smallest, Square} combine_t;

  logic is_nop, is_pair, is_table, is_product, scales, scales_output, accept, queue_retire, nop_retire_q, next_valid_q, promote;
  logic [Context:0] accepted_q, retired_q;                // one bit more than a context's number
  logic [Context-1:0] newest, next_context_q;

  assign command = elementwise_command_t'(command_i);
  assign unused_command = ^command ^ ^window_low_i[3] ^ ^window_high_i[3];
  assign is_nop = command.opcode == OPCODE_NOP;
  assign is_pair = command.opcode != OPCODE_REQUANTISE && command.opcode != OPCODE_TABLE;
  assign is_table = command.opcode == OPCODE_TABLE;
  assign is_product = command.opcode == OPCODE_MUL || command.opcode == OPCODE_PRELU;
  assign scales = is_pair && command.opcode != OPCODE_MUL;  // each operand by its own multiplier
  assign scales_output = !is_table;
  assign newest = accepted_q[Context-1:0];
  assign busy_o = accepted_q != retired_q || nop_retire_q;
  // A nop waits until all before it have retired.
  assign command_ready_o = enable && (is_nop ? !busy_o : !next_valid_q
                                                       && accepted_q - retired_q < (Context + 1)'(Contexts));
  assign accept = command_valid_i && command_ready_o && !is_nop;
  assign retire_o = queue_retire || nop_retire_q;

  logic context_unsigned_q [Contexts];
  logic context_unsigned2_q [Contexts];
  logic context_broadcast_q [Contexts];
  logic context_broadcast2_q [Contexts];
  logic signed [8:0] context_zero_q [Contexts];
  logic signed [8:0] context_zero2_q [Contexts];
  logic signed [8:0] context_output_zero_q [Contexts];
  logic signed [8:0] context_clamp_min_q [Contexts];
  logic signed [8:0] context_clamp_max_q [Contexts];
  logic [4:0] context_left_q [Contexts];
  logic signed [31:0] context_multiplier_q [Contexts];
  logic signed [31:0] context_multiplier2_q [Contexts];
  logic signed [31:0] context_output_multiplier_q [Contexts];
  logic signed [15:0] context_shift_q [Contexts];
  logic signed [15:0] context_shift2_q [Contexts];
  logic signed [15:0] context_output_shift_q [Contexts];
  logic context_product_q [Contexts];                       // mul, prelu
  logic context_sign_q [Contexts];                          // prelu: which operand counts is the first one's sign
  logic context_table_q [Contexts];
  combine_t context_combine_q [Contexts];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      accepted_q <= '0;
      retired_q <= '0;
      nop_retire_q <= 1'b0;
    end else begin
      nop_retire_q <= command_valid_i && command_ready_o && is_nop;
      if (queue_retire) retired_q <= retired_q + 1'b1;
      if (accept) begin
        accepted_q <= accepted_q + 1'b1;
        context_unsigned_q[newest] <= command.flags[FLAG_INPUT_UNSIGNED];
        context_unsigned2_q[newest] <= command.flags[FLAG_INPUT2_UNSIGNED];
        context_broadcast_q[newest] <= command.flags[FLAG_INPUT_LANE_BROADCAST];
        context_broadcast2_q[newest] <= command.flags[FLAG_INPUT2_LANE_BROADCAST];
        context_product_q[newest] <= is_product;
        context_sign_q[newest] <= command.opcode == OPCODE_PRELU;
        context_table_q[newest] <= is_table;
        case (command.opcode)
          OPCODE_SUB: context_combine_q[newest] <= Difference;
          OPCODE_MAXIMUM: context_combine_q[newest] <= Largest;
          OPCODE_MINIMUM: context_combine_q[newest] <= Smallest;
          OPCODE_SQUARED_DIFFERENCE: context_combine_q[newest] <= Square;
          default: context_combine_q[newest] <= Sum;
        endcase
        context_zero_q[newest] <= command.input_zero_point[8:0];
        context_zero2_q[newest] <= command.input2_zero_point[8:0];
        context_output_zero_q[newest] <= scales_output ? command.output_zero_point[8:0] : '0;
        context_clamp_min_q[newest] <= scales_output ? command.clamp_min[8:0] : -9'sd128;
        context_clamp_max_q[newest] <= scales_output ? command.clamp_max[8:0] : 9'sd127;
        context_left_q[newest] <= is_pair && !is_product ? command.left_shift[4:0] : '0;
        context_multiplier_q[newest] <= scales ? command.input_multiplier : One;
        context_multiplier2_q[newest] <= command.input2_multiplier;
        context_output_multiplier_q[newest] <= scales_output ? command.output_multiplier : One;
        context_shift_q[newest] <= scales ? command.input_shift : 16'sd1;
        context_shift2_q[newest] <= command.input2_shift;
        context_output_shift_q[newest] <= scales_output ? command.output_shift : 16'sd1;
      end
    end
  end

  // ---- The walks: 0 first input, 1 second input, 2 output.

  localparam int unsigned Walks = 3;

  logic [31:0] next_address_q [Walks];
  logic [31:0] next_tile_stride_q [Walks];
  logic [31:0] next_row_stride_q [Walks];
  logic [15:0] next_pixel_stride_q [Walks];
  logic [31:0] next_low_q [Walks];
  logic [31:0] next_high_q [Walks];
  logic [15:0] next_width_q, next_height_q, next_tiles_q;
  logic next_pair_q, next_table_q;

  logic active_q, pair_q, filling_q;                      // filling: the table is read
  logic [31:0] tile_q [Walks];
  logic [31:0] row_q [Walks];
  logic [31:0] word_q [Walks];
  logic [31:0] tile_stride_q [Walks];
  logic [31:0] row_stride_q [Walks];
  logic [15:0] pixel_stride_q [Walks];
  logic [31:0] low_q [Walks];
  logic [31:0] high_q [Walks];
  logic [15:0] width_q, height_q, columns_left_q, rows_left_q, tiles_left_q;
  logic [Context-1:0] walk_context_q;

  logic [TableIndex-1:0] fill_q;
  logic column_last, row_last, tile_last, command_last, step, vector_taken, fill_taken, outside;
  logic [31:0] tile_d [Walks];
  logic [31:0] row_d [Walks];
  logic [31:0] word_d [Walks];
  logic [31:0] outside_address;

  assign column_last = columns_left_q == '0;
  assign row_last = rows_left_q == '0;
  assign tile_last = tiles_left_q == '0;
  assign command_last = column_last && row_last && tile_last;
  assign promote = next_valid_q && (!active_q || (vector_taken && command_last));
  assign vector_taken = step && !full && !filling_q;
  assign fill_taken = step && filling_q;

  always_comb begin
    outside = 1'b0;
    outside_address = word_q[0];
    for (int unsigned w = 0; w < Walks; w++) begin
      tile_d[w] = column_last && row_last ? tile_q[w] + tile_stride_q[w] : tile_q[w];
      row_d[w] = !column_last ? row_q[w] : !row_last ? row_q[w] + row_stride_q[w] : tile_d[w];
      word_d[w] = !column_last ? word_q[w] + 32'(pixel_stride_q[w]) : row_d[w];
      if (!outside && (filling_q ? w == 1 : w != 1 || pair_q) && (word_q[w] < low_q[w] || word_q[w] >= high_q[w])) begin
        outside = 1'b1;
        outside_address = word_q[w];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      next_valid_q <= 1'b0;
      active_q <= 1'b0;
    end else if (enable) begin
      if (accept) begin
        next_valid_q <= 1'b1;
        next_address_q <= '{command.input_address, command.input2_address, command.output_address};
        next_tile_stride_q <= '{command.input_tile_stride, command.input2_tile_stride, command.output_tile_stride};
        next_row_stride_q <= '{command.input_row_stride, command.input2_row_stride, command.output_row_stride};
        next_pixel_stride_q <= '{command.input_pixel_stride, command.input2_pixel_stride,
                                 command.output_pixel_stride};
        next_low_q <= '{window_low_i[0], window_low_i[1], window_low_i[2]};
        next_high_q <= '{window_high_i[0], window_high_i[1], window_high_i[2]};
        next_width_q <= command.width - 16'd1;
        next_height_q <= command.height - 16'd1;
        next_tiles_q <= command.tiles - 16'd1;
        next_pair_q <= is_pair;
        next_table_q <= is_table;
        next_context_q <= newest;
      end else if (promote) begin
        next_valid_q <= 1'b0;
      end
      if (promote) begin
        active_q <= 1'b1;
        tile_q <= next_address_q;
        row_q <= next_address_q;
        word_q <= next_address_q;
        tile_stride_q <= next_tile_stride_q;
        row_stride_q <= next_row_stride_q;
        pixel_stride_q <= next_pixel_stride_q;
        low_q <= next_low_q;
        high_q <= next_high_q;
        width_q <= next_width_q;
        height_q <= next_height_q;
        columns_left_q <= next_width_q;
        rows_left_q <= next_height_q;
        tiles_left_q <= next_tiles_q;
        pair_q <= next_pair_q;
        filling_q <= next_table_q;
        fill_q <= '0;
        walk_context_q <= next_context_q;
      end else if (fill_taken) begin
        word_q[1] <= word_q[1] + 32'd1;
        fill_q <= fill_q + 1'b1;
        filling_q <= fill_q != TableIndex'(TableWords - 1);
      end else if (vector_taken) begin
        tile_q <= tile_d;
        row_q <= row_d;
        word_q <= word_d;
        columns_left_q <= column_last ? width_q : columns_left_q - 16'd1;
        if (column_last) rows_left_q <= row_last ? height_q : rows_left_q - 16'd1;
        if (column_last && row_last) tiles_left_q <= tiles_left_q - 16'd1;
        active_q <= !command_last;
      end
    end
  end

  // ---- The request

  logic request_q, request_done, full;
  logic [PORTS-1:0] pending_q, granted, remaining;
  logic [31:0] address_q [PORTS];
  logic [Context-1:0] request_context_q;
  logic [Slot-1:0] request_slot_q, slot;
  logic request_pair_q, request_fill_q;
  logic [TableIndex-1:0] request_index_q;

  always_comb begin
    for (int unsigned p = 0; p < PORTS; p++) begin
      read_valid_o[p] = pending_q[p] && enable;
      read_address_o[p] = address_q[p];
    end
  end
  always_comb begin
    for (int unsigned p = 0; p < PORTS; p++) granted[p] = pending_q[p] && enable && read_grant_i[p];
  end
  assign remaining = pending_q & ~granted;
  assign request_done = request_q && remaining == '0;
  assign step = active_q && enable && !outside && (!request_q || request_done);

  // ---- Words arrive

  logic [PORTS-1:0] arriving_q;
  logic complete_q, operands_valid_q, arrived_pair_q, arrived_fill_q;
  logic [TableIndex-1:0] arrived_index_q;
  logic [Context-1:0] arrived_context_q, operand_context_q;
  logic [Slot-1:0] arrived_slot_q, operand_slot_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      request_q <= 1'b0;
      pending_q <= '0;
      arriving_q <= '0;
      complete_q <= 1'b0;
      operands_valid_q <= 1'b0;
    end else if (enable) begin
      pending_q <= remaining;
      if (request_done) request_q <= 1'b0;
      if (vector_taken || fill_taken) begin
        request_q <= 1'b1;
        pending_q <= filling_q ? 2'b10 : {pair_q, 1'b1};
        address_q <= '{word_q[0], word_q[1]};
        request_context_q <= walk_context_q;
        request_slot_q <= slot;
        request_pair_q <= pair_q;
        request_fill_q <= filling_q;
        request_index_q <= fill_q;
      end
      arriving_q <= granted;
      complete_q <= request_done;
      operands_valid_q <= complete_q && !arrived_fill_q;
      if (request_q) begin
        arrived_context_q <= request_context_q;
        arrived_slot_q <= request_slot_q;
        arrived_pair_q <= request_pair_q;
        arrived_fill_q <= request_fill_q;
        arrived_index_q <= request_index_q;
      end
      if (complete_q) begin
        operand_context_q <= arrived_context_q;
        operand_slot_q <= arrived_slot_q;
      end
    end
  end

  // Operands of 9 bits. A byte is made signed by its top bit's complement: -128 to 127 becomes 0 to 255, and the offset takes
  // that back. Private to this block but for the shifted copies that leave it.
  logic [7:0] look_up [256];
  logic signed [8:0] first [COLUMNS];
  logic signed [8:0] second [COLUMNS];
  int shifted [COLUMNS];
  int first_q [COLUMNS];
  int second_q [COLUMNS];
  logic first_unsigned, second_unsigned, first_broadcast, second_broadcast, product, by_sign, by_table;
  logic [4:0] left;

  assign first_unsigned = context_unsigned_q[arrived_context_q];
  assign second_unsigned = context_unsigned2_q[arrived_context_q];
  assign first_broadcast = context_broadcast_q[arrived_context_q];
  assign second_broadcast = context_broadcast2_q[arrived_context_q];
  assign product = context_product_q[arrived_context_q];
  assign by_sign = context_sign_q[arrived_context_q];
  assign by_table = context_table_q[arrived_context_q];
  assign left = context_left_q[arrived_context_q];

  // State private to the block: blocking assignments in rolled loops are quick in simulation (docs/rtl.md).
  /* verilator lint_off BLKSEQ */
  always_ff @(posedge clk_i) begin : operands
    if (enable && arriving_q[0]) begin
      automatic logic [31:0] flip = first_unsigned ? 32'h0 : 32'h80808080;
      automatic logic signed [8:0] offset = context_zero_q[arrived_context_q] + (first_unsigned ? 9'sd0 : 9'sd128);
      automatic logic [7:0] lane_0 = read_data_i[0][7:0];
      for (int unsigned i = 0; i < COLUMNS / 4; i++) begin
        automatic logic [31:0] four = (first_broadcast ? {4{lane_0}} : read_data_i[0][32*i+:32]);
        if (by_table) begin // its bytes leave as they are
          for (int unsigned b = 0; b < 4; b++) first[4*i+b] = 9'(signed'(look_up[four[8*b+:8]]));
        end else begin
          four ^= flip;
          first[4*i] = signed'(9'(four[7:0])) - offset;
          first[4*i+1] = signed'(9'(four[15:8])) - offset;
          first[4*i+2] = signed'(9'(four[23:16])) - offset;
          first[4*i+3] = signed'(9'(four[31:24])) - offset;
        end
      end
    end
    if (enable && arriving_q[1] && arrived_fill_q) begin
      for (int unsigned c = 0; c < COLUMNS; c++)
        look_up[COLUMNS*32'(arrived_index_q)+c] = read_data_i[1][8*c+:8];
    end else if (enable && arriving_q[1]) begin
      automatic logic [31:0] flip = second_unsigned ? 32'h0 : 32'h80808080;
      automatic logic signed [8:0] offset = context_zero2_q[arrived_context_q]
                                            + (second_unsigned ? 9'sd0 : 9'sd128);
      automatic logic [7:0] lane_0 = read_data_i[1][7:0];
      for (int unsigned i = 0; i < COLUMNS / 4; i++) begin
        automatic logic [31:0] four = (second_broadcast ? {4{lane_0}} : read_data_i[1][32*i+:32]) ^ flip;
        second[4*i] = signed'(9'(four[7:0])) - offset;
        second[4*i+1] = signed'(9'(four[15:8])) - offset;
        second[4*i+2] = signed'(9'(four[23:16])) - offset;
        second[4*i+3] = signed'(9'(four[31:24])) - offset;
      end
    end
    if (enable && complete_q) begin
      if (product) begin // mul: in place of the first; prelu: in place of the second, for negative first ones only
        for (int unsigned c = 0; c < COLUMNS; c++)
          shifted[c] = !by_sign ? int'(first[c]) * int'(second[c]) : first[c] < 0 ? 0 : int'(first[c]);
        first_q <= shifted;
        for (int unsigned c = 0; c < COLUMNS; c++)
          shifted[c] = by_sign && first[c] < 0 ? int'(first[c]) * int'(second[c]) : 0;
        second_q <= shifted;
      end else begin
        for (int unsigned c = 0; c < COLUMNS; c++) shifted[c] = int'(first[c]) <<< left;
        first_q <= shifted;
        for (int unsigned c = 0; c < COLUMNS; c++) shifted[c] = arrived_pair_q ? int'(second[c]) <<< left : 0;
        second_q <= shifted;
      end
    end
  end
  /* verilator lint_on BLKSEQ */

  // ---- Rescale both, combine, requantise

  int first_multiplier [COLUMNS];
  int second_multiplier [COLUMNS];
  int output_multiplier [COLUMNS];
  int first_shift [COLUMNS];
  int second_shift [COLUMNS];
  int output_shift [COLUMNS];
  int first_rescaled [COLUMNS];
  int second_rescaled [COLUMNS];
  int sum [COLUMNS];
  logic rescaled_valid, unused_second_valid;
  logic [Tag-1:0] rescaled_tag;
  logic [Context-1:0] sum_context;
  logic unused_second_tag, unused_busy_1, unused_busy_2, unused_busy_3;

  assign sum_context = rescaled_tag[Tag-1:Slot];

  assign first_multiplier = '{default: context_multiplier_q[operand_context_q]};
  assign second_multiplier = '{default: context_multiplier2_q[operand_context_q]};
  assign first_shift = '{default: 32'(context_shift_q[operand_context_q])};
  assign second_shift = '{default: 32'(context_shift2_q[operand_context_q])};
  assign output_multiplier = '{default: context_output_multiplier_q[sum_context]};
  assign output_shift = '{default: 32'(context_output_shift_q[sum_context])};
  function automatic int square(logic signed [17:0] difference);
    return int'(difference) * int'(difference);
  endfunction

  // A square is that of the difference's low 18 bits.
  always_comb begin
    sum = first_rescaled;
    unique case (context_combine_q[sum_context])
      Difference: for (int unsigned c = 0; c < COLUMNS; c++) sum[c] = first_rescaled[c] - second_rescaled[c];
      Largest: for (int unsigned c = 0; c < COLUMNS; c++)
        sum[c] = first_rescaled[c] > second_rescaled[c] ? first_rescaled[c] : second_rescaled[c];
      Smallest: for (int unsigned c = 0; c < COLUMNS; c++)
        sum[c] = first_rescaled[c] < second_rescaled[c] ? first_rescaled[c] : second_rescaled[c];
      Square: for (int unsigned c = 0; c < COLUMNS; c++) sum[c] = square(18'(first_rescaled[c] - second_rescaled[c]));
      default: for (int unsigned c = 0; c < COLUMNS; c++) sum[c] = first_rescaled[c] + second_rescaled[c];
    endcase
  end

  rescale #(.LANES(COLUMNS), .TAG(Tag)) i_first (
    .clk_i, .rst_ni, .hold_i(!enable), .valid_i(operands_valid_q),
    .value_i(first_q), .multiplier_i(first_multiplier), .shift_i(first_shift),
    .tag_i({operand_context_q, operand_slot_q}),
    .valid_o(rescaled_valid), .value_o(first_rescaled), .tag_o(rescaled_tag), .busy_o(unused_busy_1)
  );

  rescale #(.LANES(COLUMNS), .TAG(1)) i_second (
    .clk_i, .rst_ni, .hold_i(!enable), .valid_i(operands_valid_q),
    .value_i(second_q), .multiplier_i(second_multiplier), .shift_i(second_shift), .tag_i(1'b0),
    .valid_o(unused_second_valid), .value_o(second_rescaled), .tag_o(unused_second_tag), .busy_o(unused_busy_2)
  );

  logic done [1];
  logic [Slot-1:0] done_slot [1];
  logic [WORD-1:0] done_bytes [1];

  requantiser #(.LANES(COLUMNS), .TAG(Slot)) i_requantiser (
    .clk_i, .rst_ni, .hold_i(!enable), .valid_i(rescaled_valid),
    .value_i(sum), .multiplier_i(output_multiplier), .shift_i(output_shift),
    .zero_point_i(context_output_zero_q[sum_context]), .clamp_min_i(context_clamp_min_q[sum_context]),
    .clamp_max_i(context_clamp_max_q[sum_context]), .tag_i(rescaled_tag[Slot-1:0]),
    .valid_o(done[0]), .bytes_o(done_bytes[0]), .tag_o(done_slot[0]), .busy_o(unused_busy_3)
  );

  logic unused_empty;
  result_queue #(.WORD(WORD), .SLOTS(Slots), .SOURCES(1)) i_queue (
    .clk_i, .rst_ni, .enable_i(enable),
    .allocate_i(vector_taken), .allocate_address_i(word_q[2]), .allocate_last_i(command_last),
    .slot_o(slot), .full_o(full),
    .done_i(done), .done_slot_i(done_slot), .done_data_i(done_bytes),
    .write_valid_o, .write_address_o, .write_data_o, .write_grant_i,
    .retire_o(queue_retire), .empty_o(unused_empty)
  );

  // ---- Errors, and what the counters ask

  assign error_code_o = ERROR_REGION;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      error_o <= 1'b0;
      error_detail_o <= '0;
    end else if (enable && active_q && outside) begin
      error_o <= 1'b1;
      error_detail_o <= outside_address;
    end
  end

  logic write_refused;
  assign write_refused = write_valid_o && !write_grant_i;
  assign stalled_o = granted == '0 && !vector_taken && !(write_valid_o && write_grant_i)
                     && (remaining != '0 || write_refused);

endmodule
