// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// Depthwise convolution and pooling: a window slides over each channel tile by itself. TAPS taps of a window are read and
// summed a cycle, without a gap between words, rows, tiles and commands:
//
//   window_walker -> request -> scratchpad -> tap_datapath -> requantiser      -> result_queue -> scratchpad
//   parameter_fetcher ----------------------->             `-> rounding_divider ->
//
// request holds one group of taps. Taps whose bank was taken ask again while the others' words are kept by the datapath; when
// the last one is granted the next group takes its place. From there on nothing stops: result_queue has a slot for
// every word that is on its way. depthwise and sum_pool are requantised, average_pool, max_pool and min_pool (count 1)
// divided.
// A tap that the word before in the row has read is taken from it; only the new columns of a window are read.
// Parameters of the next tile, and of the next command's first, are fetched while a tile is computed.
//
// What a word's command decides at its end is kept in one of four contexts from acceptance to retirement; the number of the
// context travels with the word. Commands are accepted while the one before is walked.
module depthwise_unit
  import systole_pkg::*;
#(
  parameter int unsigned COLUMNS = 16,
  parameter int unsigned TAPS = 3,
  parameter int unsigned WEIGHT_PORT_ROWS = 4,
  localparam int unsigned PORTS = TAPS + 1,
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

  output logic            read_valid_o   [PORTS],         // taps, then parameters
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
  localparam int unsigned Kept = 32;                      // taps of a word for the next one of its row
  localparam int unsigned Slots = 16;                     // a word holds one for 12 cycles, 17 through the divider
  localparam int unsigned Slot = $clog2(Slots);
  localparam int unsigned Lane = TAPS > 1 ? $clog2(TAPS) : 1;

  logic enable;
  assign enable = !halt_i && !error_o;

  // ---- Commands

  window_command_t command;
  logic is_nop, is_depthwise, accept, walker_ready, fetcher_ready, queue_retire, nop_retire_q;
  logic [Context:0] accepted_q, retired_q;                // one bit more than a context's number
  logic [Context-1:0] newest;

  assign command = window_command_t'(command_i);
  assign is_nop = command.opcode == OPCODE_NOP;
  assign is_depthwise = command.opcode == OPCODE_DEPTHWISE;
  assign newest = accepted_q[Context-1:0];
  assign busy_o = accepted_q != retired_q || nop_retire_q;
  // A nop waits until all before it have retired.
  assign command_ready_o = enable && (is_nop ? !busy_o : walker_ready && fetcher_ready
                                                       && accepted_q - retired_q < (Context + 1)'(Contexts));
  assign accept = command_valid_i && command_ready_o && !is_nop;
  assign retire_o = queue_retire || nop_retire_q;

  logic context_weighted_q [Contexts];
  logic context_largest_q [Contexts];
  logic context_smallest_q [Contexts];
  logic context_divided_q [Contexts];                     // max_pool, min_pool and average_pool
  logic context_unsigned_q [Contexts];
  logic signed [8:0] context_input_zero_q [Contexts];
  logic signed [8:0] context_output_zero_q [Contexts];
  logic signed [8:0] context_clamp_min_q [Contexts];
  logic signed [8:0] context_clamp_max_q [Contexts];
  logic signed [31:0] context_multiplier_q [Contexts];
  logic signed [31:0] context_shift_q [Contexts];
  logic divided;

  assign divided = command.opcode inside {OPCODE_MAX_POOL, OPCODE_MIN_POOL, OPCODE_AVERAGE_POOL};

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
        context_weighted_q[newest] <= is_depthwise;
        context_largest_q[newest] <= command.opcode inside {OPCODE_MAX_POOL, OPCODE_MIN_POOL};
        context_smallest_q[newest] <= command.opcode == OPCODE_MIN_POOL;
        context_divided_q[newest] <= divided;
        context_unsigned_q[newest] <= command.flags[FLAG_INPUT_UNSIGNED];
        context_input_zero_q[newest] <= divided ? '0 : command.input_zero_point[8:0];
        context_output_zero_q[newest] <= command.output_zero_point[8:0];
        context_clamp_min_q[newest] <= command.clamp_min[8:0];
        context_clamp_max_q[newest] <= command.clamp_max[8:0];
        context_multiplier_q[newest] <= command.output_multiplier;
        context_shift_q[newest] <= 32'(command.output_shift);
      end
    end
  end

  // ---- Groups of taps

  logic group_valid, group_ready, word_first, word_last, tile_last, command_last, group_weighted, group_outside;
  logic tap_valid [TAPS];
  logic tap_reused [TAPS];
  logic group_keeps;
  logic [7:0] group_stride;
  logic [31:0] tap_address [TAPS];
  logic [7:0] group_index;
  logic [31:0] output_address, group_outside_address;
  logic [Context-1:0] group_context;
  logic group_taken, full;
  logic [Slot-1:0] slot;
  logic [2:0] fetched, walked_q;

  window_walker #(.TAPS(TAPS), .CONTEXT(Context), .KEPT(Kept)) i_walker (
    .clk_i, .rst_ni, .enable_i(enable),
    .command_valid_i(accept), .command_i(command),
    .input_low_i(window_low_i[0]), .input_high_i(window_high_i[0]),
    .output_low_i(window_low_i[2]), .output_high_i(window_high_i[2]),
    .context_i(newest), .command_ready_o(walker_ready),
    .group_valid_o(group_valid), .tap_valid_o(tap_valid), .tap_reused_o(tap_reused),
    .tap_address_o(tap_address), .keeps_o(group_keeps), .stride_x_o(group_stride), .group_index_o(group_index),
    .word_first_o(word_first), .word_last_o(word_last), .tile_last_o(tile_last), .command_last_o(command_last),
    .output_address_o(output_address), .depthwise_o(group_weighted), .context_o(group_context),
    .outside_o(group_outside), .outside_address_o(group_outside_address), .group_ready_i(group_ready)
  );

  // ---- The request

  logic request_q;
  logic [TAPS-1:0] pending_q, granted, remaining, tap_mask, mask_q, reused, reused_q;
  logic keeps_q;
  logic [7:0] stride_q;
  logic [31:0] address_q [TAPS];
  logic [7:0] index_q;
  logic first_q, last_q, tile_last_q, request_done;
  logic [Context-1:0] context_q;
  logic [Slot-1:0] slot_q;

  always_comb begin
    for (int unsigned j = 0; j < TAPS; j++) begin
      read_valid_o[j] = pending_q[j] && enable;
      read_address_o[j] = address_q[j];
      tap_mask[j] = tap_valid[j];
      reused[j] = tap_reused[j];
    end
  end
  always_comb begin
    for (int unsigned j = 0; j < TAPS; j++) granted[j] = pending_q[j] && enable && read_grant_i[j];
  end
  assign remaining = pending_q & ~granted;
  assign request_done = request_q && remaining == '0;
  assign group_ready = (!request_q || request_done) && !(word_last && full) && !group_outside
                       && !(group_weighted && fetched == walked_q);
  assign group_taken = group_valid && group_ready && enable;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      request_q <= 1'b0;
      pending_q <= '0;
      walked_q <= '0;
    end else if (enable) begin
      pending_q <= remaining;
      if (request_done) request_q <= 1'b0;
      if (group_taken) begin
        request_q <= 1'b1;
        pending_q <= tap_mask & ~reused;
        mask_q <= tap_mask;
        reused_q <= reused;
        keeps_q <= group_keeps;
        stride_q <= group_stride;
        address_q <= tap_address;
        index_q <= group_index;
        first_q <= word_first;
        last_q <= word_last;
        tile_last_q <= tile_last;
        context_q <= group_context;
        slot_q <= slot;
        if (tile_last && group_weighted) walked_q <= walked_q + 3'd1;
      end
    end
  end

  // ---- Words arrive

  logic [TAPS-1:0] arriving_q;
  logic arriving [TAPS];
  logic [WORD-1:0] tap_data [TAPS];
  logic complete_q, arrived_first_q, arrived_last_q, arrived_tile_last_q;
  logic [TAPS-1:0] arrived_mask_q, arrived_reused_q;
  logic arrived_keeps_q;
  logic [7:0] arrived_stride_q;
  logic [7:0] arrived_index_q;
  logic [Context-1:0] arrived_context_q;
  logic [Slot-1:0] arrived_slot_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      arriving_q <= '0;
      complete_q <= 1'b0;
    end else if (enable) begin
      arriving_q <= granted;
      complete_q <= request_done;
      if (request_q) begin
        arrived_mask_q <= mask_q;
        arrived_reused_q <= reused_q;
        arrived_keeps_q <= keeps_q;
        arrived_stride_q <= stride_q;
        arrived_index_q <= index_q;
        arrived_first_q <= first_q;
        arrived_last_q <= last_q;
        arrived_tile_last_q <= tile_last_q;
        arrived_context_q <= context_q;
        arrived_slot_q <= slot_q;
      end
    end
  end
  always_comb begin
    for (int unsigned j = 0; j < TAPS; j++) begin
      arriving[j] = arriving_q[j];
      tap_data[j] = read_data_i[j];
    end
  end

  logic parameter_valid, parameter_record, parameter_unsigned, parameter_outside;
  logic [3:0] parameter_index;
  logic [1:0] parameter_tile;
  logic [7:0] parameter_group;
  logic [Lane-1:0] parameter_lane;
  logic signed [8:0] parameter_zero_point;
  logic [2:0] weights_done, records_done;

  parameter_fetcher #(.TAPS(TAPS), .WEIGHT_PORT_ROWS(WEIGHT_PORT_ROWS)) i_fetcher (
    .clk_i, .rst_ni, .enable_i(enable),
    .command_valid_i(accept && is_depthwise),
    .address_i(command.parameter_address), .tiles_i(command.output_tiles),
    .kernel_height_i(command.kernel_height), .kernel_width_i(command.kernel_width),
    .weight_unsigned_i(command.flags[FLAG_WEIGHT_UNSIGNED]), .weight_zero_point_i(command.weight_zero_point[8:0]),
    .window_low_i(window_low_i[3]), .window_high_i(window_high_i[3]), .command_ready_o(fetcher_ready),
    .read_valid_o(read_valid_o[TAPS]), .read_address_o(read_address_o[TAPS]), .read_grant_i(read_grant_i[TAPS]),
    .outside_o(parameter_outside),
    .word_valid_o(parameter_valid), .word_record_o(parameter_record), .word_index_o(parameter_index),
    .word_tile_o(parameter_tile), .word_group_o(parameter_group), .word_lane_o(parameter_lane),
    .word_unsigned_o(parameter_unsigned), .word_zero_point_o(parameter_zero_point),
    .fetched_o(fetched), .records_done_i(records_done), .weights_done_i(weights_done)
  );

  // ---- Lanes

  logic sum_valid;
  int sum [COLUMNS];
  int multiplier [COLUMNS];
  int shift [COLUMNS];
  logic [15:0] sum_count;
  logic [Context-1:0] leaving_context, sum_context;
  logic [Slot-1:0] sum_slot;

  tap_datapath #(.COLUMNS(COLUMNS), .TAPS(TAPS), .TAG(Slot), .CONTEXT(Context), .KEPT(Kept)) i_datapath (
    .clk_i, .rst_ni, .enable_i(enable),
    .word_valid_i(parameter_valid), .word_record_i(parameter_record), .word_index_i(parameter_index),
    .word_tile_i(parameter_tile), .word_group_i(parameter_group), .word_lane_i(parameter_lane),
    .word_unsigned_i(parameter_unsigned), .word_zero_point_i(parameter_zero_point), .word_data_i(read_data_i[TAPS]),
    .operand_valid_i(arriving), .operand_data_i(tap_data),
    .input_unsigned_i(context_unsigned_q[arrived_context_q]),
    .input_zero_point_i(context_input_zero_q[arrived_context_q]),
    .group_valid_i(complete_q), .group_mask_i(arrived_mask_q), .group_reused_i(arrived_reused_q),
    .stride_i(arrived_stride_q), .keeps_i(arrived_keeps_q), .group_index_i(arrived_index_q),
    .group_first_i(arrived_first_q), .group_last_i(arrived_last_q), .tile_last_i(arrived_tile_last_q),
    .weighted_i(context_weighted_q[arrived_context_q]), .largest_i(context_largest_q[arrived_context_q]),
    .smallest_i(context_smallest_q[arrived_context_q]),
    .context_i(arrived_context_q), .tag_i(arrived_slot_q),
    .sum_context_o(leaving_context), .sum_multiplier_i(context_multiplier_q[leaving_context]),
    .sum_shift_i(context_shift_q[leaving_context]),
    .valid_o(sum_valid), .value_o(sum), .multiplier_o(multiplier), .shift_o(shift), .count_o(sum_count),
    .context_o(sum_context), .tag_o(sum_slot),
    .weights_done_o(weights_done), .records_done_o(records_done)
  );

  // ---- Finish and write

  logic done [2];
  logic [Slot-1:0] done_slot [2];
  logic [WORD-1:0] done_bytes [2];
  logic sum_divided, unused_requantiser_busy, queue_empty, unused_queue_empty;

  assign sum_divided = context_divided_q[sum_context];
  assign unused_queue_empty = queue_empty;

  requantiser #(.LANES(COLUMNS), .TAG(Slot)) i_requantiser (
    .clk_i, .rst_ni, .hold_i(!enable), .valid_i(sum_valid && !sum_divided),
    .value_i(sum), .multiplier_i(multiplier), .shift_i(shift),
    .zero_point_i(context_output_zero_q[sum_context]),
    .clamp_min_i(context_clamp_min_q[sum_context]), .clamp_max_i(context_clamp_max_q[sum_context]),
    .tag_i(sum_slot), .valid_o(done[0]), .bytes_o(done_bytes[0]), .tag_o(done_slot[0]),
    .busy_o(unused_requantiser_busy)
  );

  rounding_divider #(.LANES(COLUMNS), .TAG(Slot)) i_divider (
    .clk_i, .rst_ni, .enable_i(enable), .valid_i(sum_valid && sum_divided),
    .sum_i(sum), .count_i(sum_count),
    .clamp_min_i(context_clamp_min_q[sum_context]), .clamp_max_i(context_clamp_max_q[sum_context]),
    .tag_i(sum_slot), .valid_o(done[1]), .bytes_o(done_bytes[1]), .tag_o(done_slot[1])
  );

  result_queue #(.WORD(WORD), .SLOTS(Slots), .SOURCES(2)) i_queue (
    .clk_i, .rst_ni, .enable_i(enable),
    .allocate_i(group_taken && word_last), .allocate_address_i(output_address), .allocate_last_i(command_last),
    .slot_o(slot), .full_o(full),
    .done_i(done), .done_slot_i(done_slot), .done_data_i(done_bytes),
    .write_valid_o, .write_address_o, .write_data_o, .write_grant_i,
    .retire_o(queue_retire), .empty_o(queue_empty)
  );

  // ---- Errors, and what the counters ask

  assign error_code_o = ERROR_REGION;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      error_o <= 1'b0;
      error_detail_o <= '0;
    end else if (enable && ((group_valid && group_outside) || parameter_outside)) begin
      error_o <= 1'b1;
      error_detail_o <= group_valid && group_outside ? group_outside_address : read_address_o[TAPS];
    end
  end

  logic parameter_refused, write_refused, moved;
  assign parameter_refused = read_valid_o[TAPS] && !read_grant_i[TAPS];
  assign write_refused = write_valid_o && !write_grant_i;
  assign moved = granted != '0 || group_taken || (read_valid_o[TAPS] && read_grant_i[TAPS])
                 || (write_valid_o && write_grant_i);
  assign stalled_o = !moved && (remaining != '0 || parameter_refused || write_refused);

endmodule
